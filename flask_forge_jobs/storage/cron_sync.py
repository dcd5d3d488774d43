"""How the schedules of an application's code get into the table and out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition
from flask_forge_jobs.model.declaring import (
    DeclarationReport,
    declaration,
    followed,
)
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.rows import schedule_from_row, schedule_parameters


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
