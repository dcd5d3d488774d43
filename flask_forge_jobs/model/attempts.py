"""Attempts: the runs of a job, with how and where each of them went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from flask_forge_jobs.model.bounds import Choice
from flask_forge_jobs.model.instants import whole_milliseconds
from flask_forge_jobs.model.steps import Step

# Besides the first one. A job has more attempts than these if it is throttled often, or
# if a user retries it.
NEWEST_ATTEMPTS = 30


class AttemptEnding(Choice):
    """How an attempt ended; of the one under way, that it runs.

    A failure that makes the job ``dead`` is ``failed``, too. ``released`` means given
    back: its worker stopped before the task ended.
    """

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    THROTTLED = "throttled"
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"
    RELEASED = "released"


class RunSpan(NamedTuple):
    """When and where a task ran: microseconds of the database's clock, and its slot."""

    started_us: int
    ended_us: int
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a job.

    A claim of which the task never started is no attempt: the worker had no free slot,
    no task of this kind, or no room in a concurrency limit.

    Attributes:
        run: Number of the claim, from 1. It grows with each run of the job, by more
            than 1 after a claim that was no attempt.
        attempt: Number of the attempt as retries count. Throttled, snoozed and released
            ones repeat it, and a retry by a user begins again with 1.
        due_at: When it could start.
        started_at: When the task started; of one that crashed or runs, the claim.
        ended_at: When the task ended, or its worker was reported lost; None while it
            runs.
        worker_id: Its worker; None of a job that was done at its first claim, for which
            nothing but the job itself is stored.
        worker_name: The worker's name, or None.
        host: The worker's host, or None.
        slot: Number of the slot in its queue and worker, from 0, or None.
        ending: How it ended.
        error: Its error, masked; None without one.
        traceback: The error's traceback, masked, or None.
        signature: The error without what differs from one failure to the next; None
            unless the attempt counts as a failure.
        steps: The steps that it has finished, the oldest first, and those of earlier
            attempts that are no longer kept.
    """

    run: int
    attempt: int
    due_at: datetime
    started_at: datetime
    ended_at: datetime | None
    worker_id: str | None
    worker_name: str | None
    host: str | None
    slot: int | None
    ending: AttemptEnding
    error: str | None = None
    traceback: str | None = None
    signature: str | None = None
    steps: Sequence[Step] = ()

    @property
    def wait_ms(self) -> int | None:
        """Milliseconds from due to started; None if a clock was set back."""
        return whole_milliseconds(self.due_at, self.started_at)

    @property
    def run_ms(self) -> int | None:
        """Milliseconds from started to ended; None while it runs."""
        return whole_milliseconds(self.started_at, self.ended_at)


def with_steps(attempts: Sequence[Attempt], steps: Iterable[Step]) -> list[Attempt]:
    """Return a job's attempts, the oldest first, with the steps that belong to each."""
    of_run: dict[int, list[Step]] = {each.run: [] for each in attempts}
    runs = sorted(of_run)
    for step in steps:
        later = [run for run in runs if run >= step.run] or runs[-1:]
        for run in later[:1]:
            of_run[run].append(step)
    return [
        replace(each, steps=of_run[each.run]) if of_run[each.run] else each
        for each in attempts
    ]
