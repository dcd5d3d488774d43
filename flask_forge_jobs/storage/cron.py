"""CronStorage: the schedules.

Every write computes the next firing, so an enabled schedule always has one. Each change
reads, decides and writes in one transaction that locks the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from flask_forge_jobs.errors import (
    InvalidInputError,
    ScheduleExistsError,
    ScheduleNotFoundError,
)
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
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.storage.cron_firing import AttemptsOf, Firing, QueueOf
from flask_forge_jobs.storage.database import Executor, Transaction
from flask_forge_jobs.storage.rows import schedule_from_row, schedule_parameters


class CronStorage:
    """Reads, changes and fires schedules."""

    def __init__(self, database: Executor, firing: Firing) -> None:
        self._database = database
        self._firing = firing

    def all(self) -> list[Schedule]:
        """Return every schedule, by name."""
        rows = self._database.read(lambda transaction: transaction.all("all_schedules"))
        return [schedule_from_row(row) for row in rows]

    def get(self, name: str) -> Schedule:
        """Return one schedule.

        Raises:
            ScheduleNotFoundError: No schedule has this name.
        """
        rows = self._database.read(lambda tx: tx.all("get_schedule", name=name))
        if not rows:
            raise ScheduleNotFoundError(name)
        return schedule_from_row(rows[0])

    def create(self, definition: ScheduleDefinition) -> Schedule:
        """Store a new schedule.

        Raises:
            InvalidInputError: A value is out of bounds, or it never fires again.
            ScheduleExistsError: The name is taken.
        """

        def work(transaction: Transaction) -> Schedule:
            schedule = Schedule.new(definition, from_micros(_now_us(transaction)))
            if transaction.all("add_schedule", **schedule_parameters(schedule)):
                return schedule
            rows = transaction.all("get_schedule", name=definition.name)
            found = schedule_from_row(rows[0]) if rows else None
            # After a lost answer, a repeated transaction meets its own row.
            if found and transaction.attempt and found.definition == definition:
                return found
            raise ScheduleExistsError(definition.name)

        return self._database.write(work)

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
            if not rows:
                raise ScheduleNotFoundError(name)
            stored = schedule_from_row(rows[0])
            now = from_micros(_now_us(transaction))
            revised = stored.revised(decide(stored), now)
            if revised is not stored:
                transaction.run("change_schedule", **schedule_parameters(revised))
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
            now = from_micros(_now_us(transaction))
            return ScheduleSync(transaction, application, now).run(definitions)

        return self._database.write(work)

    def fire_due(
        self,
        router: QueueOf,
        attempts_of: AttemptsOf = lambda _kind: DEFAULT_MAX_ATTEMPTS,
        *,
        overdue_s: float = 0.0,
    ) -> FiringReport:
        """Enqueue the jobs of all due schedules, and advance the schedules.

        Any number of processes may call this at once: each instant of a schedule gets
        one job. A schedule that cannot fire keeps the reason as its last error and
        stays due; only a wrong expression disables it. The others fire all the same.
        What a :class:`.StorageError` interrupts stays due. ``overdue_s`` limits it to
        schedules that have been due for that many seconds. ``router`` and
        ``attempts_of`` tell the queue and the attempts of a kind whose schedule names
        none.
        """
        return self._firing.fire_due(router, attempts_of, overdue_s=overdue_s)

    def ahead(self) -> FiringsAhead:
        """Return how long a firing has been due, and when the next one is."""
        rows = self._database.read(lambda transaction: transaction.all("firings_ahead"))
        overdue_us, next_us = rows[0]
        return FiringsAhead(_seconds(overdue_us), _seconds(next_us))

    def delete(self, name: str) -> None:
        """Delete a schedule; its jobs stay.

        Raises:
            ScheduleNotFoundError: No schedule has this name.
        """
        rows = self._database.execute("delete_schedule", name=name)
        if not rows:
            raise ScheduleNotFoundError(name)


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / SECOND_US


def _now_us(transaction: Transaction) -> int:
    return int(transaction.all("now")[0][0])


class ScheduleSync:
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
        """Add, change and remove schedules; return what was done."""
        # The same order everywhere, so that two processes cannot deadlock.
        wanted = {each.name: each for each in definitions}
        for name in sorted(wanted):
            self._declare(wanted[name])
        return DeclarationReport(
            tuple(self._added),
            tuple(self._changed),
            tuple(self._remove_others(wanted)),
            tuple(self._refused),
        )

    def _declare(self, definition: ScheduleDefinition) -> None:
        rows = self._transaction.all("lock_schedule", name=definition.name)
        try:
            if not rows:
                self._add(definition)
            else:
                self._follow(schedule_from_row(rows[0]), definition)
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

    def _remove_others(self, wanted: Mapping[str, object]) -> list[str]:
        rows = self._transaction.all("declared_names", declared_by=self._application)
        gone = sorted(name for (name,) in rows if name not in wanted)
        return [
            name for name in gone if self._transaction.all("delete_schedule", name=name)
        ]
