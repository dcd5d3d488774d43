"""FrozenClock: time that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.instants import MICROSECOND, SECOND_US, from_micros


class FrozenClock:
    """A clock that stands still until a test moves it.

    Args:
        clock: Gives the start time.
        before_move: Called before the time changes.
    """

    def __init__(
        self, clock: Clock, before_move: Callable[[], object] = lambda: None
    ) -> None:
        self._now_us = clock.now_us()
        self._monotonic_s = clock.monotonic()
        self._before_move = before_move

    def now_us(self) -> int:
        """Return the time in microseconds since the Unix epoch, UTC."""
        return self._now_us

    def monotonic(self) -> float:
        """Return seconds for durations."""
        return self._monotonic_s

    def since_boot(self) -> float:
        """Return the same: the host never sleeps."""
        return self._monotonic_s

    def now(self) -> datetime:
        """Return the time in UTC."""
        return from_micros(self._now_us)

    def move(self, by: timedelta | float) -> None:
        """Move the clock forward.

        Args:
            by: A ``timedelta`` or seconds.

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
        """Move the clock forward to a time with a zone.

        Raises:
            ValueError: It is in the past.
        """
        self.move(instant - self.now())
