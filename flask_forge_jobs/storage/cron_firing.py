"""Firing: due schedules make their jobs, once per instant whichever process tries.

One transaction locks the due schedules, stores their jobs and advances them, so no
firing is lost or made twice. If an edit or a clock that stepped back returns a schedule
to an instant, the unique pair of schedule and instant refuses the second job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.errors import DuplicateJobError, InvalidInputError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.cron import FiringReport, Schedule, ScheduleDefinition
from flask_forge_jobs.model.instants import SECOND_US, from_micros, to_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import (
    DEFAULT_MAX_QUEUES,
    DEFAULT_MAX_WORKERS,
    one_too_many,
)
from flask_forge_jobs.storage.database import (
    Executor,
    Parameter,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.rows import schedule_from_row, schedule_parameters

logger = get_logger(__name__)

# One transaction handles up to this many schedules, and stops after this many jobs.
SCHEDULES = 100
JOBS = 1000

QueueOf = Callable[[str], str]
AttemptsOf = Callable[[str], int]
_JobOf = Callable[[ScheduleDefinition], NewJob]


@dataclass(slots=True)
class _Plan:
    """A due schedule as it is stored and as it will be, and the rows of its jobs."""

    before: Schedule
    after: Schedule
    jobs: Sequence[dict[str, Parameter]] = ()

    def failed(self, error: Exception) -> None:
        """Leave the schedule due, so that the next attempt fires it."""
        self.after = replace(self.before, last_error=str(error))
        self.jobs = ()


@dataclass(frozen=True, slots=True)
class _Page:
    """What one transaction did; ``last`` is None if no schedule is left."""

    report: FiringReport
    made: Sequence[tuple[str, str]]
    last: str | None


class Firing:
    """Makes the jobs of due schedules."""

    def __init__(
        self,
        database: Executor,
        ids: UlidGenerator,
        recorder: Recorder,
        most_queues: int = DEFAULT_MAX_QUEUES,
    ) -> None:
        self._database = database
        self._ids = ids
        self._recorder = recorder
        self._most_queues = most_queues

    def fire_due(
        self, router: QueueOf, attempts_of: AttemptsOf, *, overdue_s: float
    ) -> FiringReport:
        """Fire what is due; see :meth:`.CronStorage.fire_due`."""

        def job_of(definition: ScheduleDefinition) -> NewJob:
            return definition.job(router, attempts_of)

        total = FiringReport()
        after: str | None = ""
        while after is not None:
            # Bound now: the transaction may be repeated.
            page = self._database.write(
                lambda tx, after=after: self._page(tx, job_of, overdue_s, after)  # type: ignore[misc]
            )
            self._recorder.enqueued_many(page.made)
            total += page.report
            after = page.last
        return total

    def _page(
        self, transaction: Transaction, job_of: _JobOf, overdue_s: float, after: str
    ) -> _Page:
        rows = transaction.all(
            "due_schedules",
            overdue_us=int(overdue_s * SECOND_US),
            after=after,
            limit=SCHEDULES,
        )
        if not rows:
            return _Page(FiringReport(), (), None)
        now = from_micros(int(transaction.all("now")[0][0]))
        plans: list[_Plan] = []
        planned = 0
        for row in rows:
            plans.append(self._plan(schedule_from_row(row), now, job_of))
            planned += len(plans[-1].jobs)
            if planned >= JOBS:
                break
        is_last = len(rows) < SCHEDULES and len(plans) == len(rows)
        report, made = _carry_out(transaction, plans, self._most_queues)
        return _Page(
            report, made, None if is_last else plans[-1].before.definition.name
        )

    def _plan(self, schedule: Schedule, now: datetime, job_of: _JobOf) -> _Plan:
        plan = _Plan(schedule, schedule)
        try:
            job = job_of(schedule.definition)
            instants, plan.after = schedule.fired(now)
        except InvalidInputError as error:
            plan.failed(error)
            if error.field == "cron_expr":
                plan.after = schedule.disabled_by(error, now)
        else:
            ids = self._ids.new_many(len(instants))
            plan.jobs = [
                {
                    "id": job_id,
                    "schedule": schedule.definition.name,
                    "queue_name": job.queue_name,
                    "max_attempts": job.max_attempts,
                    "fire_at": to_micros(instant),
                }
                for job_id, instant in zip(ids, instants, strict=True)
            ]
        return plan


def _carry_out(
    transaction: Transaction, plans: Sequence[_Plan], most_queues: int
) -> tuple[FiringReport, list[tuple[str, str]]]:
    planned = [job for plan in plans for job in plan.jobs]
    stored = _store(transaction, planned, most_queues)
    skipped = errors = 0
    made: list[tuple[str, str]] = []
    for plan in plans:
        definition = plan.before.definition
        done = [job for job in plan.jobs if job["id"] in stored]
        made += [(str(job["queue_name"]), definition.kind) for job in done]
        if len(done) < len(plan.jobs):
            error = _clash(transaction, definition) or _no_queue(
                transaction, str(plan.jobs[0]["queue_name"]), most_queues
            )
            if error is not None:
                plan.failed(error)
        skipped += max(len(plan.jobs) - len(done), 0)
        errors += plan.after.last_error is not None
        if plan.after != plan.before:
            transaction.run("advance_schedule", **schedule_parameters(plan.after))
            if plan.after.last_error is not None:
                logger.warning(
                    "schedule %r: %s", definition.name, plan.after.last_error
                )
    return FiringReport(len(made), skipped, errors), made


def _store(
    transaction: Transaction, jobs: Sequence[dict[str, Parameter]], most_queues: int
) -> set[str]:
    """Store jobs; return the ids of those that were stored."""
    if not jobs:
        return set()
    for name in sorted({str(job["queue_name"]) for job in jobs}):
        transaction.defer(
            "ensure_queue",
            name=name,
            max_workers=DEFAULT_MAX_WORKERS,
            most=most_queues,
        )
        transaction.wake(name)
    return {job_id for (job_id,) in transaction.all("fire", rows=encode_rows(jobs))}


def _no_queue(
    transaction: Transaction, name: str, most_queues: int
) -> InvalidInputError | None:
    """Return the error for a queue that could not be registered, if it was not."""
    if transaction.all("known_queues", rows=encode_names("name", [name])):
        return None
    return one_too_many(name, most_queues)


def _clash(
    transaction: Transaction, definition: ScheduleDefinition
) -> DuplicateJobError | None:
    """Return the error if a job of another kind holds the dedupe key."""
    key = definition.dedupe_key
    if key is None:
        return None
    for job_id, _, kind, *_ in transaction.all("find_enqueued", id="", dedupe_key=key):
        if kind != definition.kind:
            return DuplicateJobError(key, job_id, kind)
    return None
