"""CronStorage: the schedules.

The next firing is worked out whenever a schedule is written, so an enabled one always
has it. Each change reads, decides and writes in one transaction that holds the row.
"""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.errors import ScheduleExistsError, ScheduleNotFoundError
from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition
from flask_forge_jobs.model.instants import from_micros, to_micros
from flask_forge_jobs.storage.database import Database, Parameter, Transaction
from flask_forge_jobs.storage.rows import schedule_from_row


class CronStorage:
    """Reads and changes schedules.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

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
            parameters = _parameters(schedule)
            created_at = to_micros(schedule.created_at)
            if transaction.all("add_schedule", created_at=created_at, **parameters):
                return schedule
            rows = transaction.all("get_schedule", name=definition.name)
            found = schedule_from_row(rows[0]) if rows else None
            # A repeated unit may meet its own row, after an unclear commit (D32).
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
                transaction.run("change_schedule", **_parameters(revised))
            return revised

        return self._database.write(work)

    def delete(self, name: str) -> None:
        """Delete a schedule; the jobs that it made stay.

        Raises:
            ScheduleNotFoundError: No schedule has this name.
        """
        rows = self._database.single("delete_schedule", name=name)
        if not rows:
            raise ScheduleNotFoundError(name)


def _now_us(transaction: Transaction) -> int:
    return int(transaction.all("now")[0][0])


def _parameters(schedule: Schedule) -> dict[str, Parameter]:
    definition, next_at = schedule.definition, schedule.next_fire_at
    return {
        "name": definition.name,
        "kind": definition.kind,
        "payload": definition.payload,
        "queue_name": definition.queue_name,
        "cron_expr": definition.cron_expr,
        "timezone": definition.timezone,
        "enabled": definition.enabled,
        "max_attempts": definition.max_attempts,
        "dedupe_key": definition.dedupe_key,
        "next_fire_at": None if next_at is None else to_micros(next_at),
        "last_error": schedule.last_error,
        "updated_at": to_micros(schedule.updated_at),
    }
