"""An application over a database with very many jobs, while a worker runs some."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.metrics import floor_to
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.operating import traffic
from tests.acceptance.operating_data import fill_operations
from tests.dashboard.browser.filling import begin_bulk
from tests.dashboard.browser.sites import Site, running_site
from tests.support.databases import fresh_url, sqlite_url
from tests.support.sql import Sql

PAUSE_S = 0.02  # so that some jobs are seen to run
BATCH_JOBS = 10_000


def fill_large(url: str, rows: int) -> None:
    """Fill an empty database with so many jobs."""
    settings = DatabaseSettings.from_url(url)
    with closing(open_storage(settings)) as storage:
        storage.open()
        sql = Sql(settings)
        fill_operations(sql, settings.backend, rows)
        _tell_one_story(sql)
        # Named like a queue, so that one name fits both pages.
        storage.cron.create(
            ScheduleDefinition("queue-1", "kind-1", "*/5 * * * *", queue_name="queue-1")
        )
        storage.rate_limits.put("gateway", capacity=10, refill_per_sec=0.5)
        arguments = dump({"reason": "the printer is full"})
        storage.audit.append(
            AuditRecord(
                "ops", "queue_actions", "queue-1", "127.0.0.1", "request-1", 200, 1,
                arguments,
            )
        )  # fmt: skip
        # As a worker does every few seconds; the traffic has none.
        storage.job_admin.fold_counts()


def _tell_one_story(sql: Sql) -> None:
    """Let the parts of the filling fit each other, as those of a real system do.

    Gauges measure as many jobs as wait, and schedules fire at their next time.
    """
    now_us, hour_us, minute_us = sql.now_us(), 3600 * SECOND_US, 60 * SECOND_US
    sql.run(
        "UPDATE forge_gauge SET waiting = waiting * 6, oldest_wait_s = 560, running = 1"
    )
    sql.run(
        "UPDATE forge_gauge SET waiting = waiting * 50, running = 4 * samples"
        " WHERE queue_name = ''"
    )
    minute = "CAST(SUBSTR(name, 7) AS BIGINT) * 7 % 60"
    start_us = floor_to(now_us, 3600)
    due_us = f"({start_us} + ({minute}) * {minute_us})"
    sql.run(
        f"UPDATE forge_cron SET cron_expr = CAST({minute} AS TEXT) || ' * * * *',"
        f" next_fire_at = {due_us} + CASE WHEN {due_us} <= {now_us} + {minute_us}"
        f" THEN {hour_us} ELSE 0 END WHERE name LIKE 'every-%'"
    )


def _make_due(sql: Sql) -> None:
    """Let jobs be due for minutes and not for weeks; in two queues for longer."""
    number = "CAST(SUBSTR(id, 7) AS BIGINT)"
    sql.run(
        f"UPDATE forge_job SET scheduled_at = {sql.now_us()} - ({number} * 7919 % 150)"
        " * CASE WHEN queue_name IN ('queue-7', 'queue-23') THEN 4 ELSE 1 END"
        f" * {SECOND_US} WHERE status = 'pending' AND NOT deferred"
        " AND id LIKE 'FILLED%'"
    )


@contextlib.contextmanager
def large_url(backend: str, rows: int, ready: Path | None) -> Iterator[str]:
    """Yield the URL of a database with so many jobs, or of a copy of a ready file."""
    with fresh_url(backend) as url:
        if ready is None:
            fill_large(url, rows)
        else:
            if not ready.exists():
                fill_large(sqlite_url(ready), rows)
            copy = DatabaseSettings.from_url(url).path
            assert copy is not None, "a ready file is one of SQLite"
            with (
                closing(sqlite3.connect(ready)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
        yield url


@contextlib.contextmanager
def large_site(url: str, folder: Path, clock: Clock | None = None) -> Iterator[Site]:
    """Serve the large database while a worker runs some of its jobs."""
    settings = DatabaseSettings.from_url(url)
    with closing(open_storage(settings)) as storage:
        run_id = begin_bulk(storage)
        # In a queue that the worker leaves alone.
        jobs = [NewJob("page", queue_name="pages")] * BATCH_JOBS
        batch_id = storage.batches.create(NewBatch("catalogue"), jobs).id
    sql = Sql(settings)
    _make_due(sql)
    with (
        traffic(url, PAUSE_S),
        running_site(folder, clock=clock, database_url=url) as site,
    ):
        failed = "SELECT MAX(id) FROM forge_job WHERE status = 'failed'"
        workers = "SELECT MIN(worker_id) FROM forge_worker"
        site.use(
            {
                "name": "queue-1",
                "job_id": sql.value(failed),
                "worker_id": sql.value(workers),
                "run_id": run_id,
                "batch_id": batch_id,
            }
        )
        yield site
