"""Earlier runs: what they have in common, how long they took, what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.job.earlier import earlier_runs
from flask_forge_jobs.model.jobs import FINAL, JobFilter, JobStatus, JobSummary

NOW = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)
JOB = JobSummary(
    id="01J", queue_name="q", kind="charge", status=JobStatus.PENDING, priority=0,
    attempts=0, max_attempts=5, enqueued_at=NOW, scheduled_at=NOW,
)  # fmt: skip


def ended(number: int, seconds: float | None, *, is_dead: bool = False) -> JobSummary:
    return replace(
        JOB,
        id=f"0{number}",
        status=JobStatus.DEAD if is_dead else JobStatus.DONE,
        started_at=None if seconds is None else NOW,
        completed_at=NOW + timedelta(seconds=seconds or 0),
    )


class Jobs:
    """Answers a search, and remembers it."""

    def __init__(self, *answers: Sequence[JobSummary]) -> None:
        self._answers = list(answers)
        self.asked: list[JobFilter] = []

    def find(self, chosen: JobFilter, limit: int) -> Sequence[JobSummary]:
        self.asked.append(chosen)
        return self._answers.pop(0)[:limit]


def test_the_runs_of_a_kind_have_their_times() -> None:
    jobs = Jobs([ended(3, 4), ended(2, 0.2), ended(1, None, is_dead=True)])

    made = earlier_runs(JOB, None, jobs.find)

    assert made is not None
    assert (made.of, made.query) == ("charge", {"kind": "charge"})
    assert made.note == "the last 3 runs, 1 dead, median 2.1s"
    assert made.trend == "from 200ms to 4s, the newest 4s"
    assert [took for _, took in made.rows] == ["4s", "200ms", words.NOTHING]
    (asked,) = jobs.asked
    assert (asked.statuses, asked.kinds) == (FINAL, ("charge",))
    assert asked.enqueued_to is not None
    assert asked.enqueued_to < NOW


def test_a_key_goes_before_the_kind_and_the_kind_helps_out() -> None:
    keyed = replace(JOB, dedupe_key="order-7")
    some, none = Jobs([ended(1, 1)]), Jobs([], [ended(2, 1)])

    same, other = (earlier_runs(keyed, None, jobs.find) for jobs in (some, none))

    assert same is not None
    assert (same.of, same.query) == ("the key order-7", {"dedupe_key": "order-7"})
    assert other is not None
    assert other.of == "charge"
    assert [each.dedupe_key for each in none.asked] == ["order-7", None]


def test_a_schedule_goes_before_all() -> None:
    jobs = Jobs([ended(1, 1)])

    made = earlier_runs(replace(JOB, dedupe_key="k"), "nightly", jobs.find)

    assert made is not None
    assert (made.of, made.query) == ("the schedule nightly", {"cron": "nightly"})


def test_the_first_run_has_none_before() -> None:
    assert earlier_runs(JOB, None, Jobs([]).find) is None
    timeless = earlier_runs(JOB, None, Jobs([ended(1, None)]).find)
    assert timeless is not None
    assert (timeless.note, timeless.trend) == ("1 run", "no run has a time")
