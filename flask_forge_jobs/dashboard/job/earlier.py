"""Earlier runs of the same work: by schedule or key, else by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts.small import Spark, spark_bars
from flask_forge_jobs.model.instants import MICROSECOND
from flask_forge_jobs.model.jobs import FINAL, JobFilter, JobStatus, JobSummary

MAX_RUNS = 30
MAX_ROWS = 6
Find = Callable[[JobFilter, int], Sequence[JobSummary]]


@dataclass(frozen=True, slots=True)
class Earlier:
    """Ended jobs that were enqueued before this one, the newest first.

    Attributes:
        of: What they have in common, in words.
        query: The same as parameters of the list of jobs.
        jobs: At most 30 of them.
    """

    of: str
    query: Mapping[str, str]
    jobs: Sequence[JobSummary]

    @property
    def rows(self) -> Sequence[tuple[JobSummary, str]]:
        """The newest with the time that they took."""
        shown = self.jobs[:MAX_ROWS]
        return [(job, _took(_seconds(job))) for job in shown]

    @property
    def note(self) -> str:
        """How they ended, and the usual time."""
        number = len(self.jobs)
        parts = ["1 run" if number == 1 else f"the last {number} runs"]
        if self._dead:
            parts.append(f"{self._dead} dead")
        if times := self._times:
            parts.append(f"median {_took(median(times))}")
        return ", ".join(parts)

    @property
    def has_trend(self) -> bool:
        """Whether a drawing shows more than the rows."""
        return len(self.jobs) > 1 and any(self._times)

    @property
    def colour(self) -> str:
        """Of the drawing: red if none succeeded."""
        return "red" if self._dead == len(self.jobs) else "blue"

    @property
    def spark(self) -> Spark:
        """Their times, the oldest first; few of them do not fill the width."""
        missing = [None] * (MAX_RUNS - len(self.jobs))
        return spark_bars([*missing, *(_seconds(job) for job in reversed(self.jobs))])

    @property
    def trend(self) -> str:
        """The times in words, for readers who do not see the drawing."""
        if not (times := self._times):
            return "no run has a time"
        shortest, longest = _took(min(times)), _took(max(times))
        return f"from {shortest} to {longest}, the newest {_took(times[0])}"

    @property
    def _dead(self) -> int:
        return sum(job.status is JobStatus.DEAD for job in self.jobs)

    @property
    def _times(self) -> Sequence[float]:
        return [s for job in self.jobs if (s := _seconds(job)) is not None]


def earlier_runs(
    job: JobSummary, schedule_name: str | None, find: Find
) -> Earlier | None:
    """Return the earlier runs of a job; None without any."""
    before = job.enqueued_at - MICROSECOND
    ended = JobFilter(statuses=FINAL, enqueued_to=before)
    for of, parameter, value, asked in _in_common(job, schedule_name, ended):
        if runs := find(asked, MAX_RUNS):
            return Earlier(of, {parameter: value}, runs)
    return None


def _in_common(
    job: JobSummary, schedule_name: str | None, ended: JobFilter
) -> Iterator[tuple[str, str, str, JobFilter]]:
    """Yield what other jobs may share, the narrowest first."""
    key = job.dedupe_key
    if schedule_name:
        asked = replace(ended, schedule_name=schedule_name)
        yield f"the schedule {schedule_name}", "cron", schedule_name, asked
    elif key:
        yield f"the key {key}", "dedupe_key", key, replace(ended, dedupe_key=key)
    yield job.kind, "kind", job.kind, replace(ended, kinds=(job.kind,))


def _took(seconds: float | None) -> str:
    return words.took(None if seconds is None else 1000 * seconds)


def _seconds(job: JobSummary) -> float | None:
    if job.started_at is None or job.completed_at is None:
        return None
    return max((job.completed_at - job.started_at).total_seconds(), 0.0)
