"""Connections of forge-jobs-server, with their buffers, and how much all may buffer."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import threading
from collections.abc import Iterator

AT_ONCE = 65_536
# Of a body whose length is known; fewer calls, each of which waits for busy threads.
MAX_AT_ONCE = 262_144
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# As far as a request's beginning is looked at.
LONGEST_BEGINNING = 512
# Beyond this many times the budget, an answer is not buffered but cut off.
_OVERDRAFT = 2
# These match a head in lower case.
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*)")
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)")
_LENGTH = re.compile(rb"[0-9]{1,18}[ \t]*")
_CHUNK_SIZE = re.compile(rb"[0-9a-f]{1,15}", re.IGNORECASE)
_LINE_END = b"\r\n"
_BLANK_LINE = b"\r\n\r\n"


class BufferBudget:
    """How many bytes the connections of a process buffer, and how many they should.

    Args:
        limit: Beyond it, connections are closed until the rest is within it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = threading.Lock()  # threads write answers

    def add(self, change: int) -> None:
        """Count bytes that are buffered; a negative number is sent or dropped."""
        with self._lock:
            self.used += change

    @property
    def is_exceeded(self) -> bool:
        """Whether connections have to be closed."""
        return self.used > self.limit

    def is_spent_by(self, more: int) -> bool:
        """Whether nothing may wait for connections to be closed any more."""
        return self.used + more > _OVERDRAFT * self.limit


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

    def starts_with(self, beginnings: tuple[bytes, ...]) -> bool:
        """Whether the request begins with one of these bytes."""
        line = bytes(self.data[self._start : self._start + LONGEST_BEGINNING])
        return line.startswith(beginnings)

    @property
    def missing(self) -> int:
        """How many bytes are still to come; 0 if that is not known yet."""
        return 0 if self._end is None else max(self._end - len(self.data), 0)

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
    """A connection that never blocks: gunicorn reads and writes its buffers.

    Args:
        accepted: The connection as gunicorn has accepted it.
        longest: How many bytes of a request to collect.
        budget: Counts the buffered bytes of the connection.
    """

    def __init__(
        self, accepted: socket.socket, longest: int, budget: BufferBudget
    ) -> None:
        kind = accepted.family, accepted.type, accepted.proto
        super().__init__(*kind, fileno=accepted.detach())
        super().setblocking(False)
        self._longest = longest
        self._request = RequestBuffer()
        self._taken = 0
        # The size of a request that gunicorn has taken to its end; it has a copy.
        self._copied = 0
        self._was_cut = False
        # The head of an answer, empty until gunicorn sends it; None lets all pass.
        self._head: bytes | None = None
        self._unsent = bytearray()
        self._budget = budget
        # How many bytes it buffers, as the budget counts them.
        self.held = 0

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001  # the base's signature
        """Do nothing: each call that gunicorn makes would pass Python's lock on."""

    def settimeout(self, value: float | None) -> None:
        """Do nothing, like :meth:`setblocking`."""

    @property
    def is_sending(self) -> bool:
        """Whether the connection is open and a part of the answer is unsent."""
        return bool(self._unsent) and self.fileno() >= 0

    def begin(self) -> bool:
        """Expect the next request; return False if the last one was cut short."""
        self._drop_taken()
        return not self._was_cut

    def starts_with(self, beginnings: tuple[bytes, ...]) -> bool:
        """Whether the present request begins with one of these bytes."""
        return self._request.starts_with(beginnings)

    def rest(self) -> None:
        """Drop the answered request; the client reads the answer or sends another."""
        self._drop_taken()

    def gather(self) -> bool:
        """Read arrived bytes; return whether to pass the request to a thread."""
        missing = self._request.missing
        try:
            if missing:
                arrived = super().recv(min(missing, MAX_AT_ONCE))
                self._request.add(arrived)
            else:
                arrived = super().recv(AT_ONCE, socket.MSG_PEEK)
                # Bytes after the request stay in the socket; a selector sees them.
                super().recv(self._request.add(arrived))
        except BlockingIOError:
            return False
        self._count()
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
        if self._request.is_whole and self._taken == len(self._request.data):
            # Frees the memory; the budget counts the copy until it is answered.
            self._copied, self._taken = self._taken, 0
            self._request.begin(self._copied)
        return chunk

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        """Send or buffer ``data``; return its length."""
        self.sendall(data, flags)
        return len(data)

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """Send as much as the client takes now, and buffer the rest.

        Raises:
            BrokenPipeError: All connections together buffer far too much.
        """
        del flags
        if self._head is not None:
            if not self._head:
                self._head = data
                return
            data, self._head = self._head + data, None
        sent = 0
        if not self._unsent:
            with contextlib.suppress(BlockingIOError):
                sent = super().send(data)
        if sent == len(data):
            return
        if self._budget.is_spent_by(len(data) - sent):
            raise BrokenPipeError(errno.EPIPE, "too many answers wait for clients")
        self._unsent += memoryview(data)[sent:]
        self._count()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Send the head of an answer with the first part of its body, if it has one."""
        self._head = b""
        try:
            yield
        finally:
            head, self._head = self._head, None
            if head:
                self.sendall(head)

    def flush(self) -> bool:
        """Send as much as the client takes now; return whether all is sent."""
        while self._unsent:
            try:
                sent = super().send(bytes(self._unsent[:AT_ONCE]))
            except BlockingIOError:
                return False
            del self._unsent[:sent]
            self._count()
        return True

    def close(self) -> None:
        """Close the connection and drop its buffers."""
        self._request = RequestBuffer()
        self._copied = 0
        self._head = None
        self._unsent = bytearray()
        self._count()
        super().close()

    def _drop_taken(self) -> None:
        self._request.begin(self._taken)
        self._taken = self._copied = 0
        self._count()

    def _count(self) -> None:
        held = self._copied + len(self._request.data) + len(self._unsent)
        self._budget.add(held - self.held)
        self.held = held
