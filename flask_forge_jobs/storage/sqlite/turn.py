"""Takes turns: the threads of a process write to a SQLite file one after the other."""

from __future__ import annotations

import contextlib
import math
import threading
import time

from flask_forge_jobs.errors import StorageBusyError
from flask_forge_jobs.storage.database import deadline, left_s

_HOPELESS_FOR_S = 1.0
# Longer than several commits, of a millisecond or two each.
_SHORT_LIMIT_S = 0.015


def release_all(lock: threading.RLock) -> None:
    """Release a lock as often as the calling thread has taken it."""
    with contextlib.suppress(RuntimeError):  # it has it no more
        while True:
            lock.release()


class CountingLock:
    """A reentrant lock that knows how often its thread holds it.

    Attributes:
        depth: How often; only the thread that holds it may ask.
    """

    __slots__ = ("_lock", "depth")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.depth = 0

    def acquire(self, limit_s: float = -1) -> bool:
        """Take the lock; return False if it was not free in time."""
        if not self._lock.acquire(timeout=limit_s):
            return False
        self.depth += 1
        return True

    def release(self) -> None:
        """Release the lock."""
        self.depth -= 1
        self._lock.release()

    def let_go(self) -> None:
        """Release the lock as often as the calling thread has it, noted or not."""
        if self._lock.acquire(blocking=False):
            self.depth = 0
            release_all(self._lock)

    def acquire_at_rest(self, ends_at: float) -> bool:
        """Take the lock by ``ends_at``, unless the calling thread holds it already."""
        if not self.acquire(max(ends_at - time.monotonic(), 0.0)):
            return False
        if self.depth == 1:
            return True
        self.release()
        return False


class WriterLock(CountingLock):
    """Lets one thread write at a time.

    ``limit_s`` covers the wait for other threads and for other processes together. Once
    a writer has timed out, the next ones wait only briefly until one succeeds.
    Otherwise the waits would add up, to minutes for the last writer.
    """

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self._limit_s = limit_s
        self._gave_up_at = -math.inf

    def __enter__(self) -> float:
        """Begin a turn; return the monotonic time at which this writer gives up.

        Raises:
            StorageBusyError: Another thread has kept the turn for too long.
        """
        came_at = time.monotonic()
        # left_s(), acquire() and release() inlined: every write runs this.
        limit_s = self._limit_s
        if deadline.ends_at is not None:
            limit_s = left_s(limit_s)
        if not self._lock.acquire(timeout=limit_s):
            raise StorageBusyError("another thread has been writing for too long")
        self.depth += 1
        ends_at, now = came_at + limit_s, time.monotonic()
        if now - self._gave_up_at < _HOPELESS_FOR_S:
            ends_at = min(ends_at, now + _SHORT_LIMIT_S)
        return ends_at

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        is_busy = isinstance(error, StorageBusyError)
        self._gave_up_at = time.monotonic() if is_busy else -math.inf
        self.depth -= 1
        self._lock.release()
