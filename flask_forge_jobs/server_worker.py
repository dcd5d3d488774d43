"""The server process of forge-jobs-server: no thread before a whole request is there.

gunicorn's threads wait for their clients, so a handful of connections that send a byte
now and then, or read none, hold all of them. Here the main thread gathers each request
and hands over what is complete; a thread waits neither for what it reads nor for who
reads its answer. What waits is bounded in time, number and size.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

# So long a client may take to send a request, and as long to read its answer.
PATIENCE_S = 30.0
# Connections of one process that wait for their clients. Beyond it the one that has
# waited longest is closed, and beyond the bytes the one that holds most.
MOST_WAITING = 256
MOST_BYTES = 67_108_864
LONGEST_BODY = 8_388_608
AT_ONCE = 65_536
TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Of a head in small letters.
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*)")
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)")
_LENGTH = re.compile(rb"[0-9]{1,18}[ \t]*")
_CHUNK_SIZE = re.compile(rb"[0-9a-f]{1,15}", re.IGNORECASE)
_LINE_END = b"\r\n"
_BLANK_LINE = b"\r\n\r\n"


class RequestBuffer:
    """What has arrived of one request.

    It only looks for the end. Whether the request is a good one is for gunicorn's
    parser, which also decides where the next one starts.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.expects_continue = False
        self._start = 0
        # Where to look on: for the end of the head, then for the next chunk.
        self._at = 0
        self._is_chunked = False
        self._end: int | None = None

    def begin(self, taken: int) -> None:
        """Start with the next request.

        Args:
            taken: How many bytes the parser has read; what is left of the last body
                stays in front.
        """
        del self.data[:taken]
        self.expects_continue = False
        self._start = self._at = len(self.data)
        self._is_chunked = False
        self._end = None

    def add(self, arrived: bytes) -> int:
        """Take from the start of ``arrived`` what belongs to this request.

        Returns:
            How many bytes that is.
        """
        self.data += arrived
        if self._end is None and not self._is_chunked:
            self._find_end_of_head()
        if self._end is None and self._is_chunked:
            self._find_end_of_chunks()
        if self._end is None or self._end >= len(self.data):
            return len(arrived)
        surplus = len(self.data) - self._end
        del self.data[self._end :]
        return len(arrived) - surplus

    @property
    def is_whole(self) -> bool:
        """Whether the request has arrived to its end."""
        return self._end is not None and len(self.data) >= self._end

    def _find_end_of_head(self) -> None:
        start = max(self._at - len(_BLANK_LINE), self._start)
        blank = self.data.find(_BLANK_LINE, start)
        self._at = len(self.data)
        if blank < 0:
            return
        end = blank + len(_BLANK_LINE)
        head = self.data[self._start : end].lower()
        if expectation := _EXPECT.search(head):
            # We meet it; gunicorn would once more, after the body.
            first = self._start + expectation.start()
            del self.data[first : first + len(expectation[0])]
            end -= len(expectation[0])
            self.expects_continue = True
        self._at = end
        framing = _FRAMING.findall(head)
        # The parser refuses what is ambiguous, whatever follows.
        name, value = framing[0] if len(framing) == 1 else (b"", b"")
        if name == b"transfer-encoding" and b"chunked" in value:
            self._is_chunked = True
        elif name == b"content-length" and _LENGTH.fullmatch(value):
            self._end = end + int(value)
        else:
            self._end = end

    def _find_end_of_chunks(self) -> None:
        while (line_end := self.data.find(_LINE_END, self._at)) >= 0:
            size = self.data[self._at : line_end].partition(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size):
                self._end = len(self.data)  # the parser refuses it
                return
            if not int(size, 16):
                blank = self.data.find(_BLANK_LINE, line_end)
                if blank >= 0:
                    self._end = blank + len(_BLANK_LINE)
                    return
                break
            self._at = line_end + int(size, 16) + 2 * len(_LINE_END)
        # Looked through again and again, so a line must not be endless.
        if len(self.data) - self._at > AT_ONCE:
            self._end = len(self.data)


class ClientSocket(socket.socket):
    """A connection whose user never waits.

    gunicorn reads from it what was gathered, and what it writes stays here until the
    client reads it.
    """

    def __init__(self, accepted: socket.socket, longest: int) -> None:
        kind = accepted.family, accepted.type, accepted.proto
        super().__init__(*kind, fileno=accepted.detach())
        self._longest = longest
        self._request = RequestBuffer()
        self._taken = 0
        self._was_cut = False
        self._unsent = bytearray()

    @property
    def held(self) -> int:
        """How many bytes wait here."""
        return len(self._request.data) + len(self._unsent)

    @property
    def is_sending(self) -> bool:
        """Whether a part of an answer waits for the client, on an open connection."""
        return bool(self._unsent) and self.fileno() >= 0

    def begin(self) -> bool:
        """Expect the next request; tell whether it can be told from the last one."""
        self._request.begin(self._taken)
        self._taken = 0
        return not self._was_cut

    def gather(self) -> bool:
        """Take what has arrived; tell whether the request is to be handed over.

        Raises:
            OSError: The connection is broken.
        """
        try:
            arrived = super().recv(AT_ONCE, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return False
        # What follows the request stays where a selector sees it.
        super().recv(self._request.add(arrived), socket.MSG_DONTWAIT)
        is_over = not arrived or len(self._request.data) >= self._longest
        if self._request.is_whole or is_over:
            return True
        if self._request.expects_continue:
            self._request.expects_continue = False
            self.sendall(CONTINUE)
        return False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return the next gathered bytes; none at their end."""
        del flags
        chunk = bytes(self._request.data[self._taken : self._taken + size])
        self._taken += len(chunk)
        self._was_cut |= not chunk
        return chunk

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        """Send, or keep until it can be sent; return the length of ``data``."""
        self.sendall(data, flags)
        return len(data)

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """Send, or keep until it can be sent."""
        del flags
        sent = 0
        if not self._unsent:
            with contextlib.suppress(BlockingIOError):
                sent = super().send(data, socket.MSG_DONTWAIT)
        self._unsent += data[sent:]

    def flush(self) -> bool:
        """Send what waits as far as the client reads; tell whether all is sent.

        Raises:
            OSError: The connection is broken.
        """
        while self._unsent:
            try:
                sent = super().send(bytes(self._unsent[:AT_ONCE]), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            del self._unsent[:sent]
        return True


class GatheringWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, in front of which requests are gathered.

    gunicorn's application, ``app``, may tell ``longest_body``: the bytes of the longest
    body that is gathered, its chunks included. TLS is for a proxy in front.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields = self.cfg.limit_request_fields * (self.cfg.limit_request_field_size + 2)
        # A longer body reaches the application cut off, and ends its connection.
        body = getattr(self.app, "longest_body", LONGEST_BODY)
        self._longest = self.cfg.limit_request_line + fields + body
        self._most_bytes = max(MOST_BYTES, 2 * self._longest)
        # Connection to the instant at which it is given up; the oldest first.
        self._waiting: dict[Any, float] = {}

    def enqueue_req(self, conn: Any) -> None:
        """Take a connection on which a request may have come."""
        if not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket(conn.sock, self._longest)
        conn.data_ready = True  # so that no thread of a newer gunicorn waits for it
        if not conn.sock.begin():
            self._drop(conn)
            return
        try:
            is_complete = conn.sock.gather()
        except OSError:
            self._drop(conn)
            return
        if is_complete:
            super().enqueue_req(conn)
        else:
            self._wait(conn, selectors.EVENT_READ, self._gather)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request without the headers that pass for others.

        Newer releases of gunicorn leave them out by themselves.
        """
        req.headers = [pair for pair in req.headers if "_" not in pair[0]]
        return super().handle_request(req, conn)

    def finish_request(self, *args: Any) -> None:
        """Go on with a connection once its answer is sent."""
        conn = args[0] if len(args) > 1 else args[0].conn  # by version of gunicorn
        if conn.sock.is_sending:
            # An older gunicorn that ends has no selector any more, and lets go of it.
            with contextlib.suppress(ValueError):
                self._wait(conn, selectors.EVENT_WRITE, partial(self._flush, args))
                return
        super().finish_request(*args)

    def murder_keepalived(self, *args: Any, **kwargs: Any) -> None:
        """Close what has waited for too long; gunicorn calls it every second."""
        super().murder_keepalived(*args, **kwargs)
        now = time.monotonic()
        for conn, until in list(self._waiting.items()):
            if now < until and self.alive:
                break
            if now >= until or not conn.sock.is_sending:
                self._give_up(conn)

    def _wait(self, conn: Any, event: int, go_on: Callable[[Any], None]) -> None:
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, event, lambda _: self._go_on(conn, go_on))
        self._waiting[conn] = time.monotonic() + PATIENCE_S
        if len(self._waiting) > MOST_WAITING:
            self._give_up(next(iter(self._waiting)))

    def _go_on(self, conn: Any, go_on: Callable[[Any], None]) -> None:
        if conn not in self._waiting:  # closed since the selector named it
            return
        try:
            go_on(conn)
        except OSError:
            self._drop(conn)

    def _gather(self, conn: Any) -> None:
        if conn.sock.gather():
            self._leave(conn)
            super().enqueue_req(conn)
        elif conn.sock.held > AT_ONCE:
            self._bound_bytes()

    def _flush(self, args: tuple[Any, ...], conn: Any) -> None:
        if conn.sock.flush():
            self._leave(conn)
            super().finish_request(*args)

    def _bound_bytes(self) -> None:
        held = {conn: conn.sock.held for conn in list(self._waiting)}
        if sum(held.values()) > self._most_bytes:
            self._drop(max(held, key=held.__getitem__))

    def _leave(self, conn: Any) -> None:
        del self._waiting[conn]
        self.poller.unregister(conn.sock)

    def _give_up(self, conn: Any) -> None:
        if conn.sock.held and not conn.sock.is_sending:
            with contextlib.suppress(OSError):
                conn.sock.sendall(TIMED_OUT)
        self._drop(conn)

    def _drop(self, conn: Any) -> None:
        if conn in self._waiting:
            self._leave(conn)
        self.nr_conns -= 1
        conn.close()
