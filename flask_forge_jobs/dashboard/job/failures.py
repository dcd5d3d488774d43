"""The failures of a job: the newest with its traceback, the others folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.dashboard.job.tracebacks import Part, parts_of
from flask_forge_jobs.handlers.job_record import JobRecord
from flask_forge_jobs.model.attempts import Attempt

# Characters of the message of a failure that is folded, and of its heading.
SHORT, LONG = 300, 8192


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure; ``run`` is None if nothing but its text is known.

    ``parts`` are the exceptions of its traceback, the one that ended the attempt first;
    none without a traceback, and for folded failures.
    """

    run: int | None
    attempt: int
    at: datetime | str
    message: str
    parts: Sequence[Part] = ()
    text: str | None = None

    @property
    def summary(self) -> str:
        """The beginning of its message."""
        return f"{self.message[:SHORT]}…" if len(self.message) > SHORT else self.message


@dataclass(frozen=True, slots=True)
class Failures:
    """The failure that is open, and all of them, the newest first."""

    shown: Failure
    all: Sequence[Failure]

    @property
    def others(self) -> Sequence[Failure]:
        """Those that are folded."""
        return [each for each in self.all if each is not self.shown]


def failures_of(record: JobRecord, run: int | None = None) -> Failures | None:
    """Return the failures of a job; None if none is known.

    Args:
        record: The job.
        run: The run whose failure is open; None or a run without one means the newest.
    """
    known = [
        (_of_attempt(each), each.traceback)
        for each in reversed(record.attempts)
        if each.error is not None
    ]
    if not known:
        known = [
            (Failure(None, each.attempt, each.at, each.message), each.traceback)
            for each in reversed(record.row.error_history)
        ]
    if not known:
        return None
    index = next((i for i, (each, _) in enumerate(known) if each.run == run), 0)
    if run is None:
        index = 0
    plain, traceback = known[index]
    parts = () if traceback is None else parts_of(traceback)
    opened = replace(plain, parts=parts, text=traceback)
    every = [each for each, _ in known]
    every[index] = opened
    return Failures(opened, every)


def _of_attempt(attempt: Attempt) -> Failure:
    return Failure(
        attempt.run,
        attempt.attempt,
        attempt.ended_at or attempt.started_at,
        (attempt.error or "")[:LONG],
    )
