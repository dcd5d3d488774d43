"""Where messages of PostgreSQL's protocol begin and end in a stream of bytes."""

from __future__ import annotations

import struct

_NAME_LENGTH = 1
# What a client may ask before it says who it is; the server answers with one byte.
_ASKS_FOR_ENCRYPTION = (80877103, 80877104)
QUERY = b"Q"
READY = b"Z"
NOTIFICATION = b"A"


def join(name: bytes, body: bytes) -> bytes:
    """Return a message as it is sent."""
    return name + struct.pack("!I", len(body) + 4) + body


class MessageStream:
    """Cuts what one side sends into its messages.

    Args:
        begins_bare: Whether the first message has no name, as a client's has.
    """

    def __init__(self, *, begins_bare: bool = False) -> None:
        self._is_bare = begins_bare
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the name and the body of each message that is complete now."""
        self._rest += data
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self) -> tuple[bytes, bytes] | None:
        before = 0 if self._is_bare else _NAME_LENGTH
        if len(self._rest) < before + 4:
            return None
        (length,) = struct.unpack_from("!I", self._rest, before)
        if len(self._rest) < before + length:
            return None
        name = self._rest[:before]
        body = self._rest[before + 4 : before + length]
        self._rest = self._rest[before + length :]
        if self._is_bare:
            self._is_bare = struct.unpack_from("!I", body)[0] in _ASKS_FOR_ENCRYPTION
        return name, body
