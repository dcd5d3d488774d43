"""CronStorage: the schedules.

The next firing is worked out whenever a schedule is written, so an enabled one always
has it. Each change reads, decides and writes in one transaction that holds the row.
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
from flask_forge_jobs.model.cron import (
    FiringReport,
    FiringsAhead,
    Schedule,
    ScheduleDefinition,
)
from flask_forge_jobs.model.declaring import (
    DeclarationReport,
    declaration,
    followed,
)
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.storage.cron_firing import Firing, Router
from flask_forge_jobs.storage.database import Executor, Transaction
from flask_forge_jobs.storage.rows import schedule_from_row, schedule_parameters


class CronStorage:
    """Reads and changes schedules.

    Args:
        database: The seam to the database.
        firing: Makes the jobs of due schedules.
    """

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

        Args:
            definition: What it is to do.

        Raises:
            InvalidInputError: A value is outside its bounds, or the expression never
                fires again.
            ScheduleExistsError: The name is taken.
        """

        def work(transaction: Transaction) -> Schedule:
            schedule = Schedule.new(definition, from_micros(_now_us(transaction)))
            if transaction.all("add_schedule", **schedule_parameters(schedule)):
                return schedule
            rows = transaction.all("get_schedule", name=definition.name)
            found = schedule_from_row(rows[0]) if rows else None
            # A repeated unit may meet its own row, after an unclear commit.
            if found and transaction.attempt and found.definition == definition:
                return found
            raise ScheduleExistsError(definition.name)

        return self._database.write(work)

    def change(
        self, name: str, decide: Callable[[Schedule], ScheduleDefinition]
    ) -> Schedule:
        """Change a schedule; one that would stay the same is not written.

        Args:
            name: The schedule.
            decide: Returns what is wanted instead of what is stored; may be called
                more than once.

        Raises:
            ScheduleNotFoundError: No schedule has this name.
            InvalidInputError: A value is outside its bounds, or what should fire never
                fires again.
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
        """Bring the schedules of an application's code into the table.

        What the code changed since it was here last is changed; what an operator
        changed or disabled stays. One that the code no longer has is deleted. A
        schedule of an operator, or of another application, is left alone.

        Args:
            application: Names the application; only its schedules are touched.
            definitions: All schedules of its code.

        Raises:
            StorageError: Nothing was changed.
        """

        def work(transaction: Transaction) -> DeclarationReport:
            now = from_micros(_now_us(transaction))
            return Declaring(transaction, application, now).run(definitions)

        return self._database.write(work)

    def fire_due(self, router: Router, *, overdue_s: float = 0.0) -> FiringReport:
        """Make the jobs of every schedule that is due, and move the schedules on.

        Any number of processes may do this at once: each instant of a schedule gets one
        job. A schedule that cannot fire keeps the reason as its last error; unless its
        expression is wrong it stays enabled and due, and the others fire all the same.

        Args:
            router: Names the queue of a kind for schedules that name none.
            overdue_s: Only what has been due for so many seconds.

        Raises:
            StorageError: What had not been fired until then stays due.
        """
        return self._firing.fire_due(router, overdue_s=overdue_s)

    def ahead(self) -> FiringsAhead:
        """Return for how long a firing has been due and when the next one will be."""
        rows = self._database.read(lambda transaction: transaction.all("firings_ahead"))
        overdue_us, next_us = rows[0]
        return FiringsAhead(_seconds(overdue_us), _seconds(next_us))

    def delete(self, name: str) -> None:
        """Delete a schedule; the jobs that it made stay.

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


class Declaring:
    """Brings the stored schedules of one application into step with its code.

    Args:
        transaction: In which all of it happens.
        application: Whose schedules these are.
        now: The database's present.
    """

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
        """Add, change and remove; return what was done."""
        # In one order everywhere, so that two processes cannot lock crosswise.
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
