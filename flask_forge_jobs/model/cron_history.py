"""The runs of schedules: the last ones, those of a window, and the firings to come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_forge_jobs.model.cron import Schedule
from flask_forge_jobs.model.instants import whole_milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRun:
    """A job that a schedule made.

    Attributes:
        job_id: The job.
        queue_name: Its queue.
        kind: Its kind.
        status: Its status now.
        fire_at: The instant of the schedule that it was fired for; None if a user
            triggered it.
        enqueued_at: When it was made; later than ``fire_at`` if it was made up for.
        started_at: When its last attempt started, or None.
        completed_at: When it ended, or None.
        attempts: How many attempts it took so far.
        error: Its last error, masked, or None.
        progress: The last report of one that runs, masked, as JSON text, or None.
    """

    job_id: str
    queue_name: str
    kind: str
    status: str
    fire_at: datetime | None
    enqueued_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    attempts: int
    error: str | None
    progress: str | None

    @property
    def run_ms(self) -> int | None:
        """Milliseconds of the last attempt; None while it runs or waits."""
        if self.started_at is None:
            return None
        return whole_milliseconds(self.started_at, self.completed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleLine:
    """A schedule without its payload, with the newest job that it made, if any."""

    name: str
    kind: str
    queue_name: str | None
    cron_expr: str
    timezone: str
    enabled: bool
    next_fire_at: datetime | None
    last_error: str | None
    last_run: ScheduleRun | None


@dataclass(frozen=True, slots=True)
class ListedSchedule:
    """A schedule, with the newest job that it made, if any."""

    schedule: Schedule
    last_run: ScheduleRun | None


@dataclass(frozen=True, slots=True)
class Fired:
    """A firing that made a job; ``at`` is when the job was made."""

    at: datetime
    job_id: str
    status: str


def firings_to_come(
    first: Sequence[datetime | None],
    following: Sequence[Callable[[datetime], datetime | None]],
    start: datetime,
    until: datetime,
    *,
    each: int,
    steps: int,
) -> tuple[list[list[datetime]], list[bool]]:
    """Return the firings of several schedules in a window, and which lists are cut.

    Schedules take turns, so that one that fires each second costs the others nothing.

    Args:
        first: The next firing of each schedule; None of one that does not fire.
        following: Returns the firing after an instant, for each schedule.
        start: The beginning of the window.
        until: The end of the window; exclusive.
        each: Most firings of one schedule.
        steps: Most firings to compute in all, which bounds the time.
    """
    firings_of = [
        [at] if at is not None and start <= at < until else [] for at in first
    ]
    going = [place for place, at in enumerate(first) if at is not None and at < until]
    before = start - timedelta(microseconds=1)
    while going and steps > 0:
        still = []
        for place in going:
            if steps <= 0 or len(firings_of[place]) >= each:
                still.append(place)
                continue
            steps -= 1
            last = firings_of[place][-1] if firings_of[place] else before
            at = following[place](last)
            if at is not None and at < until:
                firings_of[place].append(at)
                still.append(place)
        if len(still) == len(going) and all(len(firings_of[p]) >= each for p in still):
            break
        going = still
    cut = set(going)
    return firings_of, [place in cut for place in range(len(firings_of))]
