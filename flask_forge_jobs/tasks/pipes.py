"""Non-blocking reads from and writes to another program."""

from __future__ import annotations

import os

CHUNK_BYTES = 65_536


class LineTooLongError(Exception):
    """The other side sent a line that is too long."""


class LineReader:
    """Reads lines of at most ``longest`` bytes from a descriptor, as they arrive."""

    def __init__(self, descriptor: int, longest: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._longest = longest
        self._rest = bytearray()
        self.is_over = False

    @property
    def has_rest(self) -> bool:
        """Whether a line is incomplete."""
        return bool(self._rest)

    def read(self) -> list[bytes]:
        """Return the complete lines; set ``is_over`` at the end of the stream.

        Raises:
            LineTooLongError: A line, complete or not, is too long.
        """
        chunk = read_some(self._descriptor)
        if chunk is None:
            return []
        if not chunk:
            self.is_over = True
        self._rest += chunk
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        if max(map(len, (*lines, rest))) > self._longest:
            raise LineTooLongError
        return [bytes(line) for line in lines]


class WriteBuffer:
    """Bytes to write to a descriptor."""

    def __init__(self, descriptor: int, data: bytes) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._left = memoryview(data)

    def write(self) -> bool:
        """Write what fits; return True when all is written or the reader is gone."""
        while self._left:
            try:
                count = os.write(self._descriptor, self._left[:CHUNK_BYTES])
            except BlockingIOError:
                return False
            except (BrokenPipeError, ConnectionResetError):
                return True
            self._left = self._left[count:]
        return True


def read_some(descriptor: int) -> bytes | None:
    """Read up to 64 KiB; empty at the end of the stream, None if nothing is there."""
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:
        return None
    except ConnectionResetError:  # the other side died with unread data
        return b""
