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


class WritersTurn:
    """Lets one thread write at a time.

    A thread waits for the others and for other processes together, and for no longer
    than the limit. Where that time has just run out for one of them, the next wait for
    a moment only, until one succeeds: with more clients than threads each would
    otherwise wait the whole time after the one before it, the last one for minutes.

    Args:
        limit_s: Seconds that a writer waits.
    """

    def __init__(self, limit_s: float) -> None:
        self._lock = threading.RLock()
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
        if not self._lock.acquire(timeout=limit_s):
            raise StorageBusyError("another thread has been writing for too long")
        now = time.monotonic()
        ends_at = came_at + limit_s
        is_hopeless = now - self._gave_up_at < _HOPELESS_FOR_S
        return min(ends_at, now + _SHORT_LIMIT_S) if is_hopeless else ends_at

    def take(self, limit_s: float) -> bool:
        """Begin a turn that never ends, within some seconds; tell whether it began."""
        return self._lock.acquire(timeout=limit_s)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the turn."""
        is_busy = isinstance(error, StorageBusyError)
        self._gave_up_at = time.monotonic() if is_busy else -math.inf
        self._lock.release()
