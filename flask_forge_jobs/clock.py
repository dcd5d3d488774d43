"""The source of time; no other module asks the operating system for it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since the Unix epoch, UTC."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back; for durations only."""


class SystemClock:
    """The clock of this host."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000

    # Not a method of our own, because every call of the storage reads it.
    monotonic = staticmethod(time.monotonic)
