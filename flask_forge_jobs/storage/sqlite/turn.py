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
        is_taken = False
        try:
            is_taken = self._lock.acquire(timeout=limit_s)
            if is_taken:
                self.depth += 1
            now = time.monotonic()
        except BaseException:
            # A signal handler may raise just after the lock was taken.
            if is_taken:
                self.release()
            elif not self.depth:
                with contextlib.suppress(RuntimeError):  # another thread has it
                    self._lock.release()
            raise
        if not is_taken:
            raise StorageBusyError("another thread has been writing for too long")
        ends_at = came_at + limit_s
        is_hopeless = now - self._gave_up_at < _HOPELESS_FOR_S
        soon = now + _SHORT_LIMIT_S
        # min() is a place where a signal handler may raise, with the lock taken.
        return soon if is_hopeless and soon < ends_at else ends_at

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        try:
            is_busy = isinstance(error, StorageBusyError)
            self._gave_up_at = time.monotonic() if is_busy else -math.inf
        finally:
            self.depth -= 1
            self._lock.release()

    def is_at(self, depth: int) -> bool:
        """Whether the calling thread has begun this many turns and ended none."""
        if not depth or not self._lock.acquire(blocking=False):
            return False
        is_at = self.depth == depth
        self._lock.release()
        return is_at
