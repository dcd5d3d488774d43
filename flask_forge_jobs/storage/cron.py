"""CronStorage: the schedules, and the jobs that due ones make.

Every write computes the next firing, so an enabled schedule always has one. A change
reads, decides and writes in one transaction that locks the row.

Firing locks the due schedules, stores their jobs and advances them in one transaction,
so no firing is lost or made twice, whichever process tries. If an edit or a clock that
stepped back returns a schedule to an instant, the unique pair of schedule and instant
refuses the second job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.errors import (
    DuplicateJobError,
    InvalidInputError,
    ScheduleExistsError,
    ScheduleNotFoundError,
)
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.bounds import DEFAULT_MAX_ATTEMPTS
from flask_forge_jobs.model.cron import (
    DeclarationReport,
    FiringReport,
    FiringsAhead,
    Schedule,
    ScheduleDefinition,
    declaration,
    followed,
)
from flask_forge_jobs.model.instants import SECOND_US, from_micros, to_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.masking import KNOWN, Mask, Masking
from flask_forge_jobs.model.queues import (
    DEFAULT_MAX_QUEUES,
    DEFAULT_MAX_WORKERS,
    one_too_many,
)
from flask_forge_jobs.storage.database import (
    Parameter,
    Row,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.rows import (
    first_row,
    schedule_from_row,
    schedule_parameters,
)

logger = get_logger(__name__)

# One transaction handles up to this many schedules, and stops after this many jobs.
SCHEDULES = 100
JOBS = 1000

_JobOf = Callable[[ScheduleDefinition], NewJob]
_Made = list[tuple[str, str]]  # queue and kind of each job


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


class CronStorage:
    """Reads, changes and fires schedules."""

    def __init__(
        self,
        database: StoreExecutor,
        ids: UlidGenerator,
        recorder: Recorder,
        max_queues: int = DEFAULT_MAX_QUEUES,
        masking: Masking = KNOWN,
    ) -> None:
        self._mask = masking.text
        self._database = database
        self._ids = ids
        self._recorder = recorder
        self._max_queues = max_queues

    def all(self) -> list[Schedule]:
        """Return every schedule, by name."""
        rows = self._database.read_all("all_schedules")
        return [schedule_from_row(row) for row in rows]

    def count(self) -> int:
        """Return how many schedules there are."""
        return int(self._database.read_one("count_schedules")[0][0])

    def get(self, name: str) -> Schedule:
        """Return one schedule; raise ScheduleNotFoundError if none has the name."""
        if (schedule := self._read(name)) is None:
            raise ScheduleNotFoundError(name)
        return schedule

    def _read(self, name: str) -> Schedule | None:
        rows = self._database.read_all("get_schedule", name=name)
        return schedule_from_row(rows[0]) if rows else None

    def create(self, definition: ScheduleDefinition) -> Schedule:
        """Store a new schedule.

        Raises:
            InvalidInputError: A value is out of bounds, or it never fires again.
            ScheduleExistsError: The name is taken.
        """
        ((now_us,),) = self._database.read_one("now")
        schedule = Schedule.new(definition, from_micros(now_us))
        values = schedule_parameters(schedule)
        if self._database.sole("add_schedule", of=definition.name, **values):
            return schedule
        if holder := self._read(definition.name):
            # A try whose answer was lost may have stored it.
            born = holder.created_at, holder.definition
            if born == (schedule.created_at, definition):
                return holder
        raise ScheduleExistsError(definition.name)

    def change(
        self, name: str, decide: Callable[[Schedule], ScheduleDefinition]
    ) -> Schedule:
        """Change a schedule; one that stays the same is not written.

        ``decide`` returns the new definition; it may be called more than once.

        Raises:
            ScheduleNotFoundError: No schedule has this name.
            InvalidInputError: A value is out of bounds, or it never fires again.
        """

        def work(transaction: Transaction) -> Schedule:
            rows = transaction.all("lock_schedule", name=name)
            *row, now_us = first_row(rows, ScheduleNotFoundError, name)
            stored, now = schedule_from_row(tuple(row)), from_micros(now_us)
            revised = stored.revised(decide(stored), now)
            if revised is not stored:
                transaction.defer("change_schedule", **schedule_parameters(revised))
            return revised

        return self._database.write(work)

    def declare(
        self, application: str, definitions: Sequence[ScheduleDefinition]
    ) -> DeclarationReport:
        """Bring all schedules of an application's code into the table, all or none.

        Changes those that the code has changed since its last declaration, keeps what
        an operator has changed or disabled, and deletes those that the code no longer
        has. Schedules of operators and other applications are left alone.
        """

        def work(transaction: Transaction) -> DeclarationReport:
            now = _now(transaction)
            return _ScheduleSync(transaction, application, now).run(definitions)

        return self._database.write(work)

    def fire_due(
        self,
        router: Callable[[str], str],
        attempts_of: Callable[[str], int] = lambda _kind: DEFAULT_MAX_ATTEMPTS,
        *,
        overdue_s: float = 0.0,
    ) -> FiringReport:
        """Enqueue the jobs of all due schedules, and advance the schedules.

        Any number of processes may call this at once: each instant of a schedule gets
        one job. A schedule that cannot fire keeps the reason as its last error and
        stays due; only a wrong expression disables it. The others fire all the same.
        Firings that a :class:`.StorageError` interrupts stay due. ``overdue_s`` limits
        it to schedules that have been due for that many seconds. ``router`` and
        ``attempts_of`` tell the queue and the attempts of a kind whose schedule names
        none.
        """

        def job_of(definition: ScheduleDefinition) -> NewJob:
            return definition.job(router, attempts_of)

        total = FiringReport()
        after: str | None = ""
        while after is not None:
            # Bound now: the transaction may be repeated.
            report, made, after = self._database.write(
                lambda tx, after=after: self._page(tx, job_of, overdue_s, after)  # type: ignore[misc]
            )
            self._recorder.enqueued_many(made)
            total += report
        return total

    def ahead(self) -> FiringsAhead:
        """Return how long a firing has been due, and when the next one is."""
        (ahead,) = self._database.read_all("firings_ahead")
        return FiringsAhead(*(None if us is None else us / SECOND_US for us in ahead))

    def delete(self, name: str) -> None:
        """Delete a schedule; its jobs stay.

        Raises:
            ScheduleNotFoundError: No schedule has this name.
        """
        if not self._database.sole("delete_schedule", name=name):
            raise ScheduleNotFoundError(name)

    def _page(
        self, transaction: Transaction, job_of: _JobOf, overdue_s: float, after: str
    ) -> tuple[FiringReport, _Made, str | None]:
        """Return the report of one transaction; its last schedule if others remain."""
        overdue_us = int(overdue_s * SECOND_US)
        rows = transaction.all(
            "due_schedules", overdue_us=overdue_us, after=after, limit=SCHEDULES
        )
        if not rows:
            return FiringReport(), [], None
        now = _now(transaction)
        plans: list[_Plan] = []
        planned = 0
        for row in rows:
            plans.append(self._plan(schedule_from_row(row), now, job_of))
            planned += len(plans[-1].jobs)
            if planned >= JOBS:
                break
        is_last = len(rows) < SCHEDULES and len(plans) == len(rows)
        report, made = _carry_out(transaction, plans, self._max_queues, self._mask)
        return report, made, None if is_last else plans[-1].before.definition.name

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


def _now(transaction: Transaction) -> datetime:
    return from_micros(int(transaction.all("now")[0][0]))


class _ScheduleSync:
    """Brings the stored schedules of one application in line with its code."""

    def __init__(
        self, transaction: Transaction, application: str, now: datetime
    ) -> None:
        self._transaction = transaction
        self._application = application
        self._now = now
        self._added: list[str] = []
        self._changed: list[str] = []
        self._refused: list[tuple[str, str]] = []

    def run(self, definitions: Sequence[ScheduleDefinition]) -> DeclarationReport:
        """Add, change and remove schedules; return the changes."""
        declared = {each.name: each for each in definitions}
        rows = self._transaction.all("declared_names", declared_by=self._application)
        # In one order, those to be removed too: another process may have older code.
        for name in sorted(declared.keys() | {name for (name,) in rows}):
            stored = self._transaction.all("lock_schedule", name=name)
            if name in declared:
                self._declare(declared[name], stored)
        return DeclarationReport(
            tuple(self._added),
            tuple(self._changed),
            tuple(self._remove_others(declared)),
            tuple(self._refused),
        )

    def _declare(self, definition: ScheduleDefinition, rows: Sequence[Row]) -> None:
        try:
            if not rows:
                self._add(definition)
            else:
                self._follow(schedule_from_row(rows[0][:-1]), definition)
        except InvalidInputError as error:
            self._refused.append((definition.name, str(error)))

    def _add(self, definition: ScheduleDefinition) -> None:
        schedule = replace(
            Schedule.new(definition, self._now),
            declared_by=self._application,
            declared_as=declaration(definition),
        )
        if self._transaction.all("add_schedule", **schedule_parameters(schedule)):
            self._added.append(definition.name)

    def _follow(self, stored: Schedule, definition: ScheduleDefinition) -> None:
        if stored.declared_by != self._application:
            owner = "an operator" if stored.declared_by is None else stored.declared_by
            reason = f"the name is taken by a schedule of {owner}"
            self._refused.append((definition.name, reason))
            return
        said = declaration(definition)
        if said == stored.declared_as:
            return
        revised = stored.revised(followed(stored, definition), self._now)
        revised = replace(revised, declared_as=said)
        self._transaction.run("change_schedule", **schedule_parameters(revised))
        self._changed.append(definition.name)

    def _remove_others(self, declared: Mapping[str, object]) -> list[str]:
        rows = self._transaction.all("declared_names", declared_by=self._application)
        gone = sorted(name for (name,) in rows if name not in declared)
        return [
            name for name in gone if self._transaction.all("delete_schedule", name=name)
        ]


def _carry_out(
    transaction: Transaction, plans: Sequence[_Plan], max_queues: int, mask: Mask
) -> tuple[FiringReport, _Made]:
    planned = [job for plan in plans for job in plan.jobs]
    stored = _store(transaction, planned, max_queues)
    skipped = errors = 0
    made: _Made = []
    for plan in plans:
        definition = plan.before.definition
        done = [job for job in plan.jobs if job["id"] in stored]
        made += [(str(job["queue_name"]), definition.kind) for job in done]
        if len(done) < len(plan.jobs):
            error = _clash(transaction, definition) or _no_queue(
                transaction, str(plan.jobs[0]["queue_name"]), max_queues
            )
            if error is not None:
                plan.failed(error)
        skipped += max(len(plan.jobs) - len(done), 0)
        plan.after = plan.after.masked(mask)
        errors += plan.after.last_error is not None
        if plan.after != plan.before:
            transaction.run("advance_schedule", **schedule_parameters(plan.after))
            if (reason := plan.after.last_error) is not None:
                logger.warning("schedule %r: %s", definition.name, reason)
    return FiringReport(len(made), skipped, errors), made


def _store(
    transaction: Transaction, jobs: Sequence[dict[str, Parameter]], max_queues: int
) -> set[str]:
    """Store jobs; return the ids of those that were stored."""
    if not jobs:
        return set()
    limits = {"max_workers": DEFAULT_MAX_WORKERS, "max_queues": max_queues}
    for name in sorted({str(job["queue_name"]) for job in jobs}):
        transaction.defer("ensure_queue", name=name, **limits)
        transaction.wake(name)
    return {job_id for (job_id,) in transaction.all("fire", rows=encode_rows(jobs))}


def _no_queue(
    transaction: Transaction, name: str, max_queues: int
) -> InvalidInputError | None:
    """Return the error for a queue that could not be registered, if it was not."""
    known = transaction.all("known_queues", rows=encode_names("name", [name]))
    return None if known else one_too_many(name, max_queues)


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
