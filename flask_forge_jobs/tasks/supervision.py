"""Supervision: waits for a program, talks to it, and stops it at a limit or a cancel.

Reads from it and writes to it never block. To stop it, the group gets SIGTERM and,
after a grace, SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from collections.abc import Callable
from typing import Self

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.run_end import CancelReason, stop_grace_s
from flask_forge_jobs.tasks.cancellation import CancelToken
from flask_forge_jobs.tasks.process_groups import ProcessGroup

_LONGEST_PAUSE_S = 86_400.0  # poll() takes at most 2**31 milliseconds
_LAST_LOOKS = 4  # enough for the 64 KiB that a pipe may still hold

CHUNK_BYTES = 65_536

OnReadable = Callable[[], bool]


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
        """Write as much as fits; return True at the end, or if the reader is gone."""
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


class Supervision:
    """One wait for a program; a context manager.

    At ``deadline`` it trips the token with TIMEOUT; at ``limit_at`` it stops the
    program without the token. Both are monotonic seconds, None for no limit. It calls
    ``ask``, sends SIGTERM and, after ``grace_s`` seconds, SIGKILL; with None it only
    ends the wait.
    """

    def __init__(
        self,
        group: ProcessGroup,
        token: CancelToken,
        *,
        clock: Clock,
        deadline: float | None = None,
        limit_at: float | None = None,
        grace_s: float | None,
        ask: Callable[[], object] = lambda: None,
    ) -> None:
        self._group = group
        self._token = token
        self._clock = clock
        self._deadline = deadline
        self._limit_at = limit_at
        self._grace_s = grace_s
        self._ask = ask
        self._kill_at: float | None = None
        self.is_late = False
        self.has_ended = False

    def __enter__(self) -> Self:
        self._resources = contextlib.ExitStack()
        reader, writer = os.pipe()
        self._resources.callback(os.close, reader)
        self._resources.callback(os.close, writer)
        self._selector = selectors.PollSelector()
        self._selector.register(reader, selectors.EVENT_READ, _nothing)
        self._wake_reader = reader
        self._selector.register(
            self._group.end_descriptor, selectors.EVENT_READ, self._note_end
        )
        self._resources.enter_context(
            self._token.heard_by(lambda: os.write(writer, b"\0"))
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening; leave the program as it is."""
        self._resources.close()

    def read(self, descriptor: int, on_readable: OnReadable) -> None:
        """Call a function whenever there is something to read."""
        self._selector.register(descriptor, selectors.EVENT_READ, on_readable)

    def write(
        self, descriptor: int, data: bytes, then: Callable[[], object] = lambda: None
    ) -> None:
        """Write bytes while waiting, and call ``then`` when all are written.

        Until then nothing can be read from the descriptor.
        """
        outgoing = WriteBuffer(descriptor, data)

        def go_on() -> bool:
            if outgoing.write():
                self.forget(descriptor)
                then()
            return False

        self._selector.register(descriptor, selectors.EVENT_WRITE, go_on)

    def forget(self, descriptor: int) -> None:
        """Stop listening to a descriptor."""
        self._selector.unregister(descriptor)

    @property
    def is_stopping(self) -> bool:
        """Whether the program has been asked to stop."""
        return self._kill_at is not None

    def run(self) -> bool:
        """Wait until such a function returns True, or the program ends or is killed.

        Return whether one did.
        """
        while True:
            now = self._clock.monotonic()
            if self._must_leave(now):
                return False
            if self._dispatch(self._pause_s(now)):
                return True
            if self.has_ended:
                # Its pipes may still hold output.
                return any(self._dispatch(0.0) for _ in range(_LAST_LOOKS))

    def _dispatch(self, timeout_s: float | None) -> bool:
        answers = [key.data() for key, _ in self._selector.select(timeout_s)]
        return any(answers)

    def _note_end(self) -> bool:
        self.forget(self._group.end_descriptor)
        self.has_ended = True
        self._group.end()  # the processes that it leaves behind
        return False

    def _must_leave(self, now: float) -> bool:
        """Stop the program when it is time; return whether the wait is over."""
        if self._kill_at is not None:
            if now >= self._kill_at:
                self._group.end()
            return now >= self._kill_at
        if self._deadline is not None and now >= self._deadline:
            self._token.cancel(CancelReason.TIMEOUT)
        self.is_late = self._limit_at is not None and now >= self._limit_at
        if not (self.is_late or self._token.is_cancelled):
            return False
        if self._grace_s is None:
            return True
        self._ask()
        self._group.terminate()
        self._selector.unregister(self._wake_reader)
        self._kill_at = now + stop_grace_s(self._token.reason, self._grace_s)
        return False

    def _pause_s(self, now: float) -> float | None:
        moments = (
            (self._deadline, self._limit_at)
            if self._kill_at is None
            else (self._kill_at,)
        )
        waits = [moment - now for moment in moments if moment is not None]
        return min(max(min(waits), 0.0), _LONGEST_PAUSE_S) if waits else None


def _nothing() -> bool:
    return False
