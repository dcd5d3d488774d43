"""A clock that a test moves."""

from __future__ import annotations

SECOND_US = 1_000_000
START_US = 1_750_000_000 * SECOND_US


class MovingClock:
    """Stands still until a test moves it."""

    def __init__(self, now_us: int = START_US) -> None:
        self._now_us = now_us
        self._slept_s = 0.0

    def now_us(self) -> int:
        """Return the present instant in microseconds since the epoch."""
        return self._now_us

    def monotonic(self) -> float:
        """Return seconds; the same unless the host has slept."""
        return self._now_us / SECOND_US - self._slept_s

    def since_boot(self) -> float:
        """Return seconds, those in which the host slept too."""
        return self._now_us / SECOND_US

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now_us += int(seconds * SECOND_US)

    def sleep(self, seconds: float) -> None:
        """Suspend the host."""
        self._slept_s += seconds
        self.move(seconds)
