"""Plain SQL beside the stores, to inspect rows and to let time pass.

PostgreSQL uses its server's clock, which a test cannot move. So to let time pass, a
test moves every stored instant into the past, on both backends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg2

from flask_forge_jobs.config.database import DatabaseSettings

SECOND_US = 1_000_000
_NAME = "beside the stores"
#: Which sessions of a server are those of the code under test; its own workers, such
#: as the autovacuum, come and go as they like.
UNDER_TEST = (
    "backend_type = 'client backend' AND datname = current_database() "
    f"AND application_name <> '{_NAME}'"
)
_SUMS = "b.total - b.done - b.dead - b.removed", "b.done", "b.dead"
_CHANGES = "COALESCE((SELECT SUM({}) FROM forge_batch_change WHERE batch_id = b.id), 0)"
_BATCH_COUNTS = {
    "sqlite": f"SELECT b.id, {', '.join(_SUMS)} FROM forge_batch AS b",
    "postgres": "SELECT b.id, "
    + ", ".join(
        f"{own} + {_CHANGES.format(change)}"
        for own, change in zip(
            _SUMS, ("added - done - dead - removed", "done", "dead"), strict=True
        )
    )
    + " FROM forge_batch AS b",
}
_INSTANTS = {
    "forge_job_count": ("newest_at",),
    "forge_job": (
        "enqueued_at",
        "scheduled_at",
        "started_at",
        "completed_at",
        "heartbeat_at",
        "cancel_requested_at",
        "fire_at",
        "admitted_at",
        "start_at",
    ),
    "forge_batch": (
        "cancel_requested_at",
        "succeeded_at",
        "finished_at",
        "died_at",
        "created_at",
        "last_added_at",
        "completed_at",
    ),
    "forge_attempt": ("due_at", "started_at", "ended_at"),
    "forge_step": ("at",),
    "forge_error": ("first_at", "last_at"),
    "forge_error_change": ("at",),
    "forge_queue": ("throttled_until", "updated_at", "paused_at", "last_served_at"),
    "forge_slot": ("started_at", "heartbeat_at"),
    "forge_worker": ("heartbeat_at", "started_at", "lost_at"),
    "forge_lease": ("expires_at",),
    "forge_request_key": ("expires_at",),
    "forge_rate_limit": ("last_refilled_at", "line_ends_at"),
    "forge_cron": ("last_fired_at", "next_fire_at", "created_at", "updated_at"),
}


class Sql:
    """A way around the stores into one database.

    A session of a PostgreSQL server is a process, so one is kept for as long as the
    object lives. A SQLite file is opened for each statement: whoever keeps it open
    keeps its log from being folded when the stores close it.

    Args:
        settings: A PostgreSQL database or a SQLite file.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        # By process: a child must neither use nor close what it inherits.
        self._servers: dict[int, psycopg2.extensions.connection] = {}
        self._file: sqlite3.Connection | None = None
        self.backend = settings.backend

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement with ``?`` parameters, commit, and return its rows."""
        if self._settings.backend == "sqlite":
            kept = self._file
            with (
                self._opened() if kept is None else contextlib.nullcontext(kept) as file
            ):
                rows = file.execute(statement, values).fetchall()
                file.commit()
            return rows
        server = self._servers.get(os.getpid())
        if server is not None:
            try:
                return _rows(server, statement, values)
            except psycopg2.Error:
                if not server.closed:
                    raise
        # There was none yet, or it has been ended from outside.
        server = self._servers[os.getpid()] = self.connect()
        return _rows(server, statement, values)

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep a SQLite file open for a block of one thread.

        A connection reads the whole schema before its first statement.
        """
        if self.backend == "postgres":
            yield
            return
        with self._opened() as file:
            self._file = file
            try:
                yield
            finally:
                self._file = None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        assert self._settings.path is not None
        with contextlib.closing(
            sqlite3.connect(self._settings.path, timeout=30)
        ) as file:
            # No test cuts the power, and on a slow disk a flush may take long.
            file.execute("PRAGMA synchronous = OFF")
            yield file

    def connect(self) -> psycopg2.extensions.connection:
        """Return a PostgreSQL connection in autocommit mode."""
        parameters = self._settings.connect_parameters()
        connection: psycopg2.extensions.connection = psycopg2.connect(
            **{**parameters, "application_name": _NAME}
        )
        connection.autocommit = True
        return connection

    def end_session(self) -> int:
        """End the session that is kept, and return the process that served it, or 0."""
        server = self._servers.pop(os.getpid(), None)
        if server is None:
            return 0
        with contextlib.closing(server):
            return int(server.info.backend_pid)

    @contextlib.contextmanager
    def write_lock(self) -> Iterator[None]:
        """Keep the write lock of a SQLite file; on PostgreSQL there is none."""
        if self._settings.backend != "sqlite":
            yield
            return
        assert self._settings.path is not None
        path = self._settings.path
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as file:
            file.execute("BEGIN IMMEDIATE")
            yield

    def value(self, statement: str, *values: object) -> Any:
        """Return the first column of the first row."""
        return self.run(statement, *values)[0][0]

    @property
    def lock_waiters(self) -> int:
        """How many sessions of a PostgreSQL database wait for a lock."""
        statement = (
            "SELECT COUNT(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(self.value(statement))

    def age(self, seconds: float) -> None:
        """Let time pass: move every stored instant into the past."""
        shift_us = int(seconds * SECOND_US)
        for table, columns in _INSTANTS.items():
            moved = ", ".join(f"{column} = {column} - {shift_us}" for column in columns)
            self.run(f"UPDATE {table} SET {moved}")

    @contextlib.contextmanager
    def newer_schema(self) -> Iterator[None]:
        """Say that a package has migrated it whose schema this code cannot read."""
        self.run(
            "INSERT INTO forge_schema (version, oldest_reader, name, applied_at) "
            "VALUES (99, 99, 'future', 0)"
        )
        try:
            yield
        finally:
            self.run("DELETE FROM forge_schema WHERE version = 99")

    @contextlib.contextmanager
    def full_trail(self) -> Iterator[None]:
        """Let the audit trail take no further entry."""
        if self.backend == "sqlite":
            begin = (
                "CREATE TRIGGER full_trail BEFORE INSERT ON forge_audit BEGIN "
                "SELECT RAISE(ABORT, 'full'); END"
            )
            end = "DROP TRIGGER full_trail"
        else:
            alter = "ALTER TABLE forge_audit"
            begin = f"{alter} ADD CONSTRAINT full_trail CHECK (false) NOT VALID"
            end = f"{alter} DROP CONSTRAINT full_trail"
        self.run(begin)
        try:
            yield
        finally:
            self.run(end)

    def counted_rows(self) -> dict[tuple[str, str, str, bool], int]:
        """Count the jobs themselves, by queue, kind, status and deferral."""
        rows = self.run(
            "SELECT queue_name, kind, status, deferred, COUNT(*) FROM forge_job "
            "GROUP BY queue_name, kind, status, deferred"
        )
        return {(q, k, s, bool(d)): int(n) for q, k, s, d, n in rows}

    def maintained_counts(self) -> dict[tuple[str, str, str, bool], int]:
        """Return the same counts from the maintained table."""
        rows = self.run(
            "SELECT queue_name, kind, status, deferred, SUM(jobs) FROM forge_job_count "
            "GROUP BY queue_name, kind, status, deferred HAVING SUM(jobs) <> 0"
        )
        return {(q, k, s, bool(d)): int(n) for q, k, s, d, n in rows}

    def assert_counts_equal_rows(self) -> None:
        """Check that the counts equal a scan of the jobs (I8)."""
        assert self.maintained_counts() == self.counted_rows()

    def assert_nobody_waits_in_vain(self) -> None:
        """Check that each waiting job has an open link, and each batch its counts."""
        stuck = self.run(
            "SELECT id FROM forge_job WHERE start_at IS NOT NULL AND status = 'pending'"
            " AND (NOT deferred OR NOT EXISTS (SELECT 1 FROM forge_link"
            " WHERE child_id = forge_job.id AND ended IS NULL"
            " AND (on_dead = 'hold' OR EXISTS (SELECT 1 FROM forge_job AS parent"
            " WHERE parent.id = parent_id AND parent.status NOT IN ('done', 'dead'))"
            " OR parent_id IN (SELECT id FROM forge_batch))))"
        )
        assert stuck == []
        for batch_id, unfinished, done, dead in self.run(_BATCH_COUNTS[self.backend]):
            states = [
                row[0]
                for row in self.run(
                    "SELECT status FROM forge_job WHERE batch_id = ?", batch_id
                )
            ]
            inner = self.run(
                "SELECT completed_at IS NULL, dead FROM forge_batch WHERE within = ?",
                batch_id,
            )
            open_batches = sum(bool(is_open) for is_open, _ in inner)
            assert unfinished == open_batches + sum(
                state in ("pending", "in_progress", "failed") for state in states
            ), batch_id
            # Jobs that were deleted after their end still count.
            assert done >= states.count("done")
            assert dead >= states.count("dead")
        self.assert_batches_know_their_jobs()

    def assert_batches_know_their_jobs(self) -> None:
        """Check that batches know which jobs are dead, and the queues of all."""
        rows = self.run(
            "SELECT job.id, dead.job_id, status, queue_name, queues, ("
            "SELECT COUNT(*) FROM forge_batch_range WHERE batch_id = b.id"
            " AND first_id <= job.id AND last_id >= job.id)"
            " FROM forge_job AS job JOIN forge_batch AS b ON b.id = job.batch_id"
            " LEFT JOIN forge_batch_dead AS dead"
            " ON dead.batch_id = b.id AND dead.job_id = job.id"
        )
        for job_id, dead_id, status, queue_name, queues, ranges in rows:
            assert (dead_id == job_id) == (status == "dead"), job_id
            assert {queue_name, "/"} & set(json.loads(f"[{queues}]")), job_id
            assert ranges == 1, job_id
        stale = self.run(
            "SELECT job_id FROM forge_batch_dead"
            " WHERE job_id NOT IN (SELECT id FROM forge_job)"
        )
        assert stale == []

    def seed(
        self,
        count: int,
        *,
        queue_name: str = "default",
        kind: str = "noop",
        status: str = "pending",
        due_in_s: int = 0,
        prefix: str = "seed",
    ) -> None:
        """Insert many jobs with one statement and refresh the planner's knowledge."""
        series = (
            "WITH RECURSIVE numbers (n) AS (VALUES (1) UNION ALL "
            f"SELECT n + 1 FROM numbers WHERE n < {count}) "
        )
        now_us = self.now_us()
        self.run(
            "INSERT INTO forge_job (id, queue_name, kind, payload, status, enqueued_at,"
            " scheduled_at, deferred, completed_at, worker_id, heartbeat_at) "
            f"{series} SELECT '{prefix}-' || CAST(n AS TEXT), ?, ?, '{{}}', ?, "
            f"{now_us} - n, {now_us} + {due_in_s * SECOND_US} - n, {due_in_s > 0}, "
            f"{'NULL' if status in ('pending', 'in_progress', 'failed') else now_us}, "
            f"{repr('seeder') if status == 'in_progress' else 'NULL'}, "
            f"{now_us if status == 'in_progress' else 'NULL'} FROM numbers",
            queue_name, kind, status,
        )  # fmt: skip
        self.run("ANALYZE forge_job")

    def now_us(self) -> int:
        """Return the database's own time in microseconds since the epoch."""
        if self._settings.backend == "sqlite":
            # Whole milliseconds as days, which are no whole ones in binary.
            days = "julianday('now') - 2440587.5"
            return int(self.value(f"SELECT ROUND(({days}) * 86400000)")) * 1000
        return int(
            self.value(
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            )
        )


def _rows(
    server: psycopg2.extensions.connection, statement: str, values: tuple[object, ...]
) -> list[tuple[Any, ...]]:
    with server.cursor() as cursor:
        cursor.execute(statement.replace("?", "%s"), values or None)
        return cursor.fetchall() if cursor.description else []
