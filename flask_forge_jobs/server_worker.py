"""The gunicorn worker of forge-jobs-server: slow clients occupy no thread.

gunicorn's threads wait for their clients, so a few connections that send or read a byte
now and then block all of them. Here the main thread collects each request and passes
only complete ones to a thread, and sends what a client is slow to read. Waiting
connections are bounded in time, number and size.
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

# How long a client may take to send a request, and again to read its answer.
PATIENCE_S = 30.0
# Connections and bytes of one process that wait for clients. Beyond the first limit the
# oldest connection is closed, beyond the second the one that holds most.
MOST_WAITING = 256
MOST_BYTES = 67_108_864
LONGEST_BODY = 8_388_608
AT_ONCE = 65_536
TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# These match a head in lower case.
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*)")
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)")
_LENGTH = re.compile(rb"[0-9]{1,18}[ \t]*")
_CHUNK_SIZE = re.compile(rb"[0-9a-f]{1,15}", re.IGNORECASE)
_LINE_END = b"\r\n"
_BLANK_LINE = b"\r\n\r\n"


class RequestBuffer:
    """The bytes of one request that have arrived.

    It only finds the end. gunicorn's parser validates the request and decides where the
    next one starts.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.expects_continue = False
        self._start = 0
        # Where to search on: for the end of the head, then for the next chunk.
        self._at = 0
        self._is_chunked = False
        self._end: int | None = None

    def begin(self, taken: int) -> None:
        """Start the next request, after the bytes that the parser has taken."""
        del self.data[:taken]
        self.expects_continue = False
        self._start = self._at = len(self.data)
        self._is_chunked = False
        self._end = None

    def add(self, arrived: bytes) -> int:
        """Take the bytes that belong to this request; return how many."""
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
            # Answered here; gunicorn would answer again after the body.
            first = self._start + expectation.start()
            del self.data[first : first + len(expectation[0])]
            end -= len(expectation[0])
            self.expects_continue = True
        self._at = end
        framing = _FRAMING.findall(head)
        # Where several headers contradict each other, the parser refuses the request.
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
        # Bounds the line that each call searches again.
        if len(self.data) - self._at > AT_ONCE:
            self._end = len(self.data)


class ClientSocket(socket.socket):
    """A connection that never blocks: gunicorn reads and writes its buffers."""

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
        """How many bytes it buffers."""
        return len(self._request.data) + len(self._unsent)

    @property
    def is_sending(self) -> bool:
        """Whether the connection is open and a part of the answer is unsent."""
        return bool(self._unsent) and self.fileno() >= 0

    def begin(self) -> bool:
        """Expect the next request; return False if the last one was cut short."""
        self._request.begin(self._taken)
        self._taken = 0
        return not self._was_cut

    def gather(self) -> bool:
        """Read what has arrived; tell whether to pass the request to a thread."""
        try:
            arrived = super().recv(AT_ONCE, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return False
        # Bytes after the request stay in the socket, where a selector sees them.
        super().recv(self._request.add(arrived), socket.MSG_DONTWAIT)
        is_over = not arrived or len(self._request.data) >= self._longest
        if self._request.is_whole or is_over:
            return True
        if self._request.expects_continue:
            self._request.expects_continue = False
            self.sendall(CONTINUE)
        return False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return the next buffered bytes; none at the end."""
        del flags
        chunk = bytes(self._request.data[self._taken : self._taken + size])
        self._taken += len(chunk)
        self._was_cut |= not chunk
        return chunk

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        """Send or buffer ``data``; return its length."""
        self.sendall(data, flags)
        return len(data)

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """Send what the client takes now, and buffer the rest."""
        del flags
        sent = 0
        if not self._unsent:
            with contextlib.suppress(BlockingIOError):
                sent = super().send(data, socket.MSG_DONTWAIT)
        self._unsent += data[sent:]

    def flush(self) -> bool:
        """Send what the client takes now; tell whether all is sent."""
        while self._unsent:
            try:
                sent = super().send(bytes(self._unsent[:AT_ONCE]), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            del self._unsent[:sent]
        return True


class GatheringWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, with collected requests.

    ``longest_body`` of gunicorn's application limits a collected body, in bytes with
    its chunk headers. It does not speak TLS; a proxy in front does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields = self.cfg.limit_request_fields * (self.cfg.limit_request_field_size + 2)
        # A longer body reaches the application truncated, and ends its connection.
        body = getattr(self.app, "longest_body", LONGEST_BODY)
        self._longest = self.cfg.limit_request_line + fields + body
        self._most_bytes = max(MOST_BYTES, 2 * self._longest)
        # Connection to the time at which it is closed; the oldest first.
        self._waiting: dict[Any, float] = {}

    def enqueue_req(self, conn: Any) -> None:
        """Take a connection on which data may have arrived."""
        if not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket(conn.sock, self._longest)
        conn.data_ready = True  # else a thread of newer gunicorn releases waits for it
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
        """Answer a request, dropping headers with "_", which WSGI takes for "-".

        Newer releases of gunicorn drop them themselves.
        """
        req.headers = [pair for pair in req.headers if "_" not in pair[0]]
        return super().handle_request(req, conn)

    def finish_request(self, *args: Any) -> None:
        """Go on with a connection once its answer is sent."""
        conn = args[0] if len(args) > 1 else args[0].conn  # depends on the release
        if conn.sock.is_sending:
            # An older gunicorn that is stopping has no selector any more.
            with contextlib.suppress(ValueError):
                self._wait(conn, selectors.EVENT_WRITE, partial(self._flush, args))
                return
        super().finish_request(*args)

    def murder_keepalived(self, *args: Any, **kwargs: Any) -> None:
        """Close connections that waited too long; gunicorn calls this every second."""
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
        if conn not in self._waiting:  # closed since the selector reported it
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
