"""What real processes counted equals the rows, but for what killed ones still held."""

from __future__ import annotations

import contextlib
import math
import os
import random
import time
from pathlib import Path

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.metrics import Tally, Window
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.connect import open_storage
from flask_forge_jobs.storage.flusher import PERIOD_S
from tests.acceptance.application import KIND
from tests.acceptance.client import post_json, send
from tests.acceptance.fleet import Fleet, started
from tests.acceptance.programs import serving, wait_until
from tests.support.sql import Sql

# The whole measurement has 100,000.
JOBS = int(os.environ.get("FORGE_JOBS_TEST_FIGURES_JOBS", "8000"))
PROCESSES, KILLED = 4, 2
BULK = 5000
DAY_US = 86_400 * SECOND_US
DONE = "SELECT COUNT(*) FROM forge_job WHERE status = 'done'"
STORED_WITHIN_US = SECOND_US // 2
# A write that is due may wait for another one.
HELD_US = int((PERIOD_S + 1.5) * SECOND_US)


def fill(storage: Storage) -> None:
    for first in range(0, JOBS, BULK):
        storage.jobs.enqueue_many(
            [
                NewJob(KIND, dump({"number": number, "sleep_ms": 2}))
                for number in range(first, min(first + BULK, JOBS))
            ]
        )


def counted(storage: Storage) -> Tally:
    now_us = time.time_ns() // 1000
    days = Window(now_us - 2 * DAY_US, 4 * DAY_US, 1)
    return storage.metrics.timelines(days, 10, [""])[""][0]


def test_killed_processes_hold_back_two_seconds_at_most(
    database_url: str, tmp_path: Path, sql: Sql
) -> None:
    settings = DatabaseSettings.from_url(database_url)
    fleet = Fleet(database_url, tmp_path, sql, threads=8, lease_s=3.0)
    with contextlib.closing(open_storage(settings)) as storage:
        fill(storage)
        with started(fleet, PROCESSES):
            wait_until(lambda: sql.run(DONE)[0][0] > JOBS // 2, "half of it is done")
            fleet.kill(random.Random(), KILLED)
            killed_us = sql.now_us()
            wait_until(lambda: sql.run(DONE)[0][0] == JOBS, "all is done", 240.0)
            assert fleet.stop() == []
        storage.flusher.flush()
        tally = counted(storage)

    (last,) = sql.run(
        "SELECT COUNT(*) FROM forge_job WHERE completed_at BETWEEN ? AND ?",
        killed_us - HELD_US,
        killed_us,
    )[0]
    missing = JOBS - tally.completed
    assert tally.enqueued == JOBS
    assert 0 <= missing <= last, f"{missing} of {JOBS} are missing, {last} were held"
    assert missing < JOBS
    assert tally.failed == 0
    assert tally.total.count == tally.run.count == tally.completed


def test_merged_percentiles_are_those_of_the_rows(
    database_url: str, tmp_path: Path, sql: Sql
) -> None:
    settings = DatabaseSettings.from_url(database_url)
    fleet = Fleet(database_url, tmp_path, sql, threads=8, lease_s=30.0)
    with contextlib.closing(open_storage(settings)) as storage:
        fill(storage)
        with started(fleet, PROCESSES):
            wait_until(lambda: sql.run(DONE)[0][0] == JOBS, "all is done", 240.0)
            assert fleet.stop() == []
        storage.flusher.flush()
        tally = counted(storage)

    totals = sorted(
        total_us
        for (total_us,) in sql.run("SELECT completed_at - enqueued_at FROM forge_job")
    )
    assert tally.completed == JOBS
    for percent in (50, 95, 99):
        exact = totals[math.ceil(percent * JOBS / 100) - 1]
        [merged] = tally.total.percentiles(percent)
        # A row is stamped when its end is stored, a moment after the run ended.
        assert 0.98 * exact - STORED_WITHIN_US <= merged <= 1.02 * exact


def test_a_server_that_stops_stores_what_it_has_just_counted(
    database_url: str, tmp_path: Path, sql: Sql
) -> None:
    """Both server processes flush at their exit, and a fork inherits no figures."""
    with serving(database_url, tmp_path, "--workers=2", "--preload") as server:
        port = server.port()
        for _ in range(20):
            body = {"kind": "send", "payload": {}}
            assert send(port, post_json("/jobs/enqueue", body)).status == 200
        assert server.stop() == 0

    totals = "SELECT SUM(enqueued) FROM forge_metric WHERE level = 10 AND kind = 'send'"
    assert [int(count) for (count,) in sql.run(totals)] == [20]
