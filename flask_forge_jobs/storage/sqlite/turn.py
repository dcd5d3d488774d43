"""Whose turn it is to write among the threads of one process, and how long it waits."""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType

from flask_forge_jobs.errors import StorageBusyError
from flask_forge_jobs.storage.deadlines import left_s

_HOPELESS_FOR_S = 1.0
# A commit of somebody else takes a millisecond or two: this outlasts several.
_SHORT_LIMIT_S = 0.015


class Hold:
    """A reentrant lock that can tell whether its own thread holds it already."""

    __slots__ = ("_depth", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0

    def acquire(self, limit_s: float = -1) -> bool:
        """Take the lock; return False when it was not free in time."""
        if not self._lock.acquire(timeout=limit_s):
            return False
        self._depth += 1
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._depth -= 1
        self._lock.release()

    def acquire_at_rest(self, ends_at: float) -> bool:
        """Take the lock, unless the calling thread is in the middle of something.

        Args:
            ends_at: Reading of the monotonic clock at which it gives up.
        """
        if not self.acquire(max(ends_at - time.monotonic(), 0.0)):
            return False
        if self._depth == 1:
            return True
        self.release()
        return False


class WritersTurn(Hold):
    """Lets one thread write at a time.

    A thread waits for the others and for other processes together, and for no longer
    than the limit. Where that time has just run out for one of them, the next wait for
    a moment only, until one succeeds: with more clients than threads each would
    otherwise wait the whole time after the one before it, the last one for minutes.

    Args:
        limit_s: Seconds that a writer waits.
    """

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self._limit_s = limit_s
        self._gave_up_at = -math.inf

    def __enter__(self) -> float:
        """Begin a turn.

        Returns:
            Reading of the monotonic clock at which this writer gives up.

        Raises:
            StorageBusyError: Another thread has had the turn for too long.
        """
        came_at = time.monotonic()
        limit_s = left_s(self._limit_s)
        # As acquire() and release() do, without the calls: every write comes by here.
        if not self._lock.acquire(timeout=limit_s):
            raise StorageBusyError("another thread has been writing for too long")
        self._depth += 1
        now = time.monotonic()
        ends_at = came_at + limit_s
        is_hopeless = now - self._gave_up_at < _HOPELESS_FOR_S
        return min(ends_at, now + _SHORT_LIMIT_S) if is_hopeless else ends_at

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the turn."""
        is_busy = isinstance(error, StorageBusyError)
        self._gave_up_at = time.monotonic() if is_busy else -math.inf
        self._depth -= 1
        self._lock.release()
