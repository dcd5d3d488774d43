"""Waits until something is true."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# This machine may be slow and busy; nothing should ever take as long.
LIMIT_S = 60.0
_FIRST_PERIOD_S = 0.01
_PERIOD_S = 0.05


def wait_until(
    holds: Callable[[], object],
    what: str,
    limit_s: float = LIMIT_S,
    period_s: float = _PERIOD_S,
) -> None:
    """Look until something is true, first often and then less often.

    Args:
        holds: Tells whether it is.
        what: It is, for a reader of the failure.
        limit_s: Longest wait, in seconds.
        period_s: Longest time between two looks, in seconds.

    Raises:
        TimeoutError: It did not become true in time.
    """
    ends_at = time.monotonic() + limit_s
    pause, pause_s = threading.Event(), _FIRST_PERIOD_S
    while not holds():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"not within {limit_s:g} s: {what}")
        pause.wait(min(pause_s, period_s))
        pause_s *= 2
