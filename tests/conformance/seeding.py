"""The data set that the contract's examples speak of."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from datetime import timedelta
from pathlib import Path

from flask.testing import FlaskClient

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import NewBulkRun, RunAuthor
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.api.mounting import PREFIX, mount_shared
from tests.support.jobs import claim_one, run
from tests.support.sql import Sql

QUEUE = "mail"
SCHEDULE = "nightly_digest"
# The job that the reference's client acts on in the contract: failed, to be retried.
JOB_ID = "01K5A4D3E4F5G6H7J8K9M0N1P2"
# Waits for a job that runs.
WAITING_ID = "01ZZZZZZZZZZZZZZZZZZZZZZZZ"
HOST_ID = "01K5A3Q8ZR7T2M4N6P8S0V2X4Z"
RUN_ID = "01K5A3Q8ZR7T2M4N6P8S0V2X50"
BATCH_ID = "01K5A3Q8ZR7T2M4N6P8S0V2X60"
ENDED_BATCH_ID = "01K5A3Q8ZR7T2M4N6P8S0V2X70"
# Its worker must not look dead before the test has ended.
_FRESH_FOR_S = 10.0


def seed(storage: Storage, sql: Sql) -> None:
    """Store both queues, a rate limit, jobs in every state, two workers."""
    storage.queues.ensure("default")
    storage.queues.ensure(QUEUE, 4)
    storage.rate_limits.put(QUEUE, 50, 50 / 60)
    failed = _enqueue(storage, {"order_id": 4711})
    run(storage, Failed("SMTP 451"), queue_name=QUEUE)
    sql.run("UPDATE forge_job SET id = ? WHERE id = ?", JOB_ID, failed)
    for outcome in (Done('{"sent":true}'), Dead("no such mailbox")):
        _enqueue(storage, {"order_id": 1})
        run(storage, outcome, queue_name=QUEUE)
    sql.run(
        "UPDATE forge_job SET schedule_name = ? WHERE status IN ('done', 'dead')",
        SCHEDULE,
    )
    _enqueue(storage, {"zone": "UTC", "batch": 500})
    running = claim_one(storage, queue_name=QUEUE)
    tomorrow = from_micros(sql.now_us()) + timedelta(days=1)
    storage.jobs.enqueue(
        NewJob(
            "send_digest",
            queue_name=QUEUE,
            run_at=tomorrow,
            job_id=WAITING_ID,
            after=[running.id],
        )
    )
    _enqueue(storage, {"order_id": 2}, key="receipt:2")
    storage.workers.beat(
        HOST_ID,
        "mailer-1",
        [QUEUE, "default"],
        [
            SlotReport(f"{QUEUE}-0-{HOST_ID}", QUEUE, running.id),
            SlotReport(f"{QUEUE}-1-{HOST_ID}", QUEUE),
        ],
    )
    author = RunAuthor("ops", "127.0.0.1", "request-1", "{}")
    conditions: dict[str, object] = {"queues": [QUEUE], "statuses": ["done"]}
    retry = NewBulkRun(
        action=JobAction.RETRY, jobs=conditions, matched=1, author=author
    )
    run_id = storage.bulk_runs.add(retry, HOST_ID)
    sql.run("UPDATE forge_bulk_run SET id = ? WHERE id = ?", RUN_ID, run_id)
    later = NewJob("send_digest", queue_name=QUEUE, run_at=tomorrow)
    storage.batches.create(NewBatch("digests", batch_id=BATCH_ID), [later, later])
    ended = NewBatch("receipts", batch_id=ENDED_BATCH_ID, queues=[QUEUE])
    storage.batches.create(ended)
    storage.workers.show("lost", None, [QUEUE])
    storage.workers.reap(["lost"])


def seed_schedule(client: FlaskClient) -> None:
    """Create the schedule that the contract's examples name."""
    answer = client.post(
        f"{PREFIX}/v1/cron",
        json={
            "name": SCHEDULE,
            "kind": "send_digest",
            "payload": {"batch": 500, "tz": "UTC"},
            "cron_expr": "0 0 6 * * *",
            "max_attempts": 3,
            "dedupe": True,
        },
    )
    assert answer.status_code == 201, answer.text


def _enqueue(
    storage: Storage, payload: dict[str, object], key: str | None = None
) -> str:
    text = json.dumps(payload, separators=(",", ":"))
    job = NewJob("send_receipt", text, queue_name=QUEUE, dedupe_key=key)
    return storage.jobs.enqueue(job).id


class SeededFile:
    """A SQLite file with the data set; a copy is there sooner than a new one."""

    def __init__(self, template: Path, path: Path) -> None:
        self._template = template
        self._path = path
        self._made_at: float | None = None

    def copy_to(self, path: Path) -> None:
        """Put a copy in the place of a file that nobody has open."""
        now = time.monotonic()
        if self._made_at is None or now - self._made_at > _FRESH_FOR_S:
            shutil.copy(self._template, self._path)
            fill(DatabaseSettings(path=self._path, synchronous="OFF"))
            self._made_at = now
        shutil.copy(self._path, path)


def fill(settings: DatabaseSettings) -> None:
    """Store the whole data set in empty tables."""
    with contextlib.closing(open_storage(settings, jitter=None)) as storage:
        storage.open()
        seed(storage, Sql(settings))
        seed_schedule(mount_shared(storage))
