"""Until when what a thread asks of the database must have an answer.

A call has limits of its own, which add up: the wait for a connection, for the server,
for the next try. Whoever has less time than that says so around its calls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_local = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let everything that this thread asks meanwhile end within so many seconds."""
    before = getattr(_local, "ends_at", None)
    ends_at = time.monotonic() + seconds
    _local.ends_at = ends_at if before is None else min(before, ends_at)
    try:
        yield
    finally:
        _local.ends_at = before


def left_s(limit_s: float) -> float:
    """Return ``limit_s``, or the seconds that are left if those are fewer."""
    ends_at: float | None = getattr(_local, "ends_at", None)
    if ends_at is None:
        return limit_s
    return max(min(limit_s, ends_at - time.monotonic()), 0.0)
