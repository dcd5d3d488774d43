"""Reads the jobs that schedules made; each method is one round trip."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.model.cron_history import Fired, ScheduleLine, ScheduleRun
from flask_forge_jobs.model.instants import (
    from_micros,
    optional_from_micros,
)
from flask_forge_jobs.storage.database import Executor, encode_names
from flask_forge_jobs.storage.rows import schedule_run_from_row

# Follows every place in a listing.
FROM_THE_NEWEST = (2**62, "")


class CronHistory:
    """Reads the runs of schedules."""

    def __init__(self, database: Executor) -> None:
        self._database = database

    def lines(self, limit: int) -> list[ScheduleLine]:
        """Return the first schedules by name, each with the newest job it made."""
        rows = self._database.read_one("schedule_lines", limit=limit)
        return [
            ScheduleLine(
                name=name,
                kind=kind,
                queue_name=queue_name,
                cron_expr=cron_expr,
                timezone=timezone,
                enabled=bool(enabled),
                next_fire_at=optional_from_micros(next_fire_at),
                last_error=last_error,
                last_run=None if run[0] is None else schedule_run_from_row(tuple(run)),
            )
            for name, kind, queue_name, cron_expr, timezone, enabled, next_fire_at,
                last_error, *run in rows
        ]  # fmt: skip

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
        return [schedule_run_from_row(row) for row in rows]
