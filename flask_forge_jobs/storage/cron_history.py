"""Reads the jobs that schedules made; each method is one round trip."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.model.cron_history import (
    Fired,
    ListedSchedule,
    ScheduleLine,
    ScheduleRun,
)
from flask_forge_jobs.model.instants import from_micros, optional_from_micros
from flask_forge_jobs.model.ordering import FROM_THE_NEWEST
from flask_forge_jobs.storage.columns import SCHEDULE
from flask_forge_jobs.storage.database import Row, encode_names
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.rows import reader_of, schedule_from_row

_SCHEDULE = len(SCHEDULE)
_run_from_row = reader_of(
    ScheduleRun,
    fire_at=optional_from_micros,
    enqueued_at=from_micros,
    started_at=optional_from_micros,
    completed_at=optional_from_micros,
)


def _run(row: Row) -> ScheduleRun | None:
    return None if row[0] is None else _run_from_row(row)


_line_from_row = reader_of(
    ScheduleLine, enabled=bool, next_fire_at=optional_from_micros, last_run=_run
)
# Its columns before those of the run.
_LINE = 8


class CronHistory:
    """Reads the runs of schedules."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def first(
        self, limit: int, room: int, *, with_runs: bool = True
    ) -> list[ListedSchedule]:
        """Return the first schedules by name, with the newest job that each made.

        None follows one that takes the last of the room, in characters of payloads.
        """
        rows = self._database.read_all(
            "first_schedules", limit=limit, room=room, with_runs=with_runs
        )
        return [
            ListedSchedule(schedule_from_row(row[:_SCHEDULE]), _run(row[_SCHEDULE:]))
            for row in rows
        ]

    def lines(self, limit: int) -> list[ScheduleLine]:
        """Return the first schedules by name, each with the newest job it made."""
        rows = self._database.read_one("schedule_lines", limit=limit)
        return [_line_from_row((*row[:_LINE], row[_LINE:])) for row in rows]

    def fired(
        self, names: Sequence[str], start_us: int, end_us: int, *, each: int
    ) -> dict[str, list[Fired]]:
        """Return the jobs that schedules made in a window, the newest first.

        At most about ``each`` of one schedule: more only if they are of one instant.
        """
        rows = self._database.read_one(
            "fired_within",
            rows=encode_names("name", names),
            from_at=start_us,
            to_at=end_us,
            offset=each - 1,
            limit=2 * each * max(len(names), 1),
        )
        by_name: dict[str, list[Fired]] = {name: [] for name in names}
        for name, at, job_id, status in rows:
            by_name[name].append(Fired(from_micros(at), job_id, status))
        return by_name

    def runs(
        self, name: str, limit: int, before: tuple[int, str] = FROM_THE_NEWEST
    ) -> list[ScheduleRun]:
        """Return the jobs that one schedule made, the newest first.

        ``before`` is the instant in microseconds and the id of a job to go on after.
        """
        at, job_id = before
        rows = self._database.read_one(
            "runs_of_schedule", name=name, at=at, id=job_id, limit=limit
        )
        return [_run_from_row(row) for row in rows]
