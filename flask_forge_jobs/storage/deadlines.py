"""One time limit for several calls of a thread.

The limits of a call add up: for a connection, for the server, for retries. Wrap calls
in :func:`within` to set one limit for all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Deadline(threading.local):
    """The state of :func:`within` in a thread."""

    ends_at: float | None = None


deadline = _Deadline()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit the calls of this thread in a block to ``seconds`` altogether."""
    before = deadline.ends_at
    ends_at = time.monotonic() + seconds
    deadline.ends_at = ends_at if before is None else min(before, ends_at)
    try:
        yield
    finally:
        deadline.ends_at = before


def left_s(limit_s: float) -> float:
    """Return ``limit_s``, or the seconds left of :func:`within` if those are fewer."""
    ends_at = deadline.ends_at
    if ends_at is None:
        return limit_s
    return max(min(limit_s, ends_at - time.monotonic()), 0.0)
