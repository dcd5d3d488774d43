"""Seldom: what is said again and again is said once a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PERIOD_S = 60.0


class Seldom:
    """Tells of each kind of message whether it is time for one more.

    Args:
        monotonic: Returns seconds that never go back; the system's by default.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._changing = threading.Lock()
        self._next_at: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def is_time_for(self, kind: str) -> bool:
        """Return whether to say it now; else it is counted. Kinds are few."""
        now = self._monotonic()
        with self._changing:
            if now < self._next_at.get(kind, now):
                self._held[kind] = self._held.get(kind, 0) + 1
                return False
            self._next_at[kind] = now + PERIOD_S
            return True

    def more(self, kind: str) -> str:
        """Return what to add: how often it was not said since; counts anew."""
        with self._changing:
            held = self._held.pop(kind, 0)
        return f" ({held} more since the last line)" if held else ""
