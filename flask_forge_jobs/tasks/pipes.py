"""Both ends of a pipe to another program, neither of which ever waits."""

from __future__ import annotations

import os

CHUNK_BYTES = 65_536


class LineTooLongError(Exception):
    """The other side sent a line that is longer than allowed."""


class LineReader:
    """Takes lines from a descriptor as they come.

    Args:
        descriptor: Set to return at once when there is nothing to read.
        longest: Most bytes of a line, without its end.
    """

    def __init__(self, descriptor: int, longest: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._longest = longest
        self._rest = bytearray()
        self.is_over = False

    @property
    def has_rest(self) -> bool:
        """Whether a line has begun and is not complete."""
        return bool(self._rest)

    def read(self) -> list[bytes]:
        """Return the lines that are complete; notes when no more will come.

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


class Outgoing:
    """Bytes on their way to a descriptor."""

    def __init__(self, descriptor: int, data: bytes) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._left = memoryview(data)

    def write(self) -> bool:
        """Write what fits; return whether nothing is left to do.

        That nobody reads any more is as good: why shows at the other program's end.
        """
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
    """Read what is there.

    Returns:
        Up to 64 KiB; empty when no more will come, None when there is nothing now.
    """
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:
        return None
    except ConnectionResetError:  # a socket whose other side died with unread data
        return b""
