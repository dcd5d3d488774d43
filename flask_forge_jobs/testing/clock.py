"""FrozenClock: time that passes when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.instants import MICROSECOND, SECOND_US, from_micros


class FrozenClock:
    """A clock that stands still until it is moved.

    Args:
        clock: Read once, for where to begin.
        before_move: Called before the time changes.
    """

    def __init__(
        self, clock: Clock, before_move: Callable[[], object] = lambda: None
    ) -> None:
        self._now_us = clock.now_us()
        self._monotonic_s = clock.monotonic()
        self._before_move = before_move

    def now_us(self) -> int:
        """Return the instant in microseconds since the Unix epoch, UTC."""
        return self._now_us

    def monotonic(self) -> float:
        """Return seconds for durations."""
        return self._monotonic_s

    def now(self) -> datetime:
        """Return the instant in UTC."""
        return from_micros(self._now_us)

    def move(self, by: timedelta | float) -> None:
        """Let time pass.

        Args:
            by: How long, in seconds where it is a number.

        Raises:
            ValueError: It is negative.
        """
        passed = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if passed < timedelta():
            raise ValueError(f"time cannot go back by {-passed}")
        self._before_move()
        passed_us = passed // MICROSECOND
        self._now_us += passed_us
        self._monotonic_s += passed_us / SECOND_US

    def move_to(self, instant: datetime) -> None:
        """Let time pass until an instant.

        Args:
            instant: With a time zone.

        Raises:
            ValueError: It is in the past.
        """
        self.move(instant - self.now())
