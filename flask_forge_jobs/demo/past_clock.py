"""The clock of the shop's past, under which work takes no time."""

from __future__ import annotations

from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.tasks.context import TaskContext


class PastClock:
    """A clock that is set, and that work moves."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Return the time in microseconds since the Unix epoch, UTC."""
        return self._now_us

    def monotonic(self) -> float:
        """Return seconds for durations."""
        return self._now_us / SECOND_US

    since_boot = monotonic

    def set(self, now_us: int) -> None:
        """Set the time."""
        self._now_us = now_us

    def move(self, seconds: float) -> None:
        """Move the time."""
        self._now_us += int(seconds * SECOND_US)


def work(context: TaskContext, seconds: float) -> None:
    """Work for so long; in the past, only the clock moves."""
    if isinstance(context.clock, PastClock):
        context.clock.move(seconds)
    else:
        context.sleep(seconds)
