"""The shop has a cause for its failures, a past, and is set up once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.demo import scenery, shop
from flask_forge_jobs.demo.flows import PAUSED_FOR_US
from flask_forge_jobs.demo.past import LOST
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.model.batches import BatchState
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.queues import QueueChanges
from flask_forge_jobs.server import create_app
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage

# Of the processor; the server prints its address after it.
MAX_S = 3.0
STOPPED_ORDERS = PAUSED_FOR_US // 1_000_000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Flask, float]]:
    """An application of the demo, and how long the processor took to prepare it."""
    folder = tmp_path_factory.mktemp("demo")
    app = _app(folder)
    began = time.process_time()
    scenery.prepare(app, SystemClock().now_us())
    took_s = time.process_time() - began
    yield app, took_s
    state_of(app).storage.close()


def _app(folder: Path) -> Flask:
    environ = {"JOBS_CONFIG_DIR": str(folder), "JOBS_DATA_DIR": str(folder)}
    return create_app(environ, demo=folder / "queue.sqlite")


@pytest.fixture
def storage(prepared: tuple[Flask, float]) -> Storage:
    return state_of(prepared[0]).storage


def test_the_shop_is_there_soon(prepared: tuple[Flask, float]) -> None:
    _, took_s = prepared

    assert took_s < MAX_S


def test_a_paused_queue_has_a_reason_and_lets_jobs_die(storage: Storage) -> None:
    ledger = storage.queues.get(shop.LEDGER)
    assert ledger.paused
    assert ledger.pause_reason == scenery.WHY
    assert ledger.paused_by == scenery.WHO
    waiting = storage.queues.waiting(scenery.QUEUES)
    assert waiting[shop.LEDGER] == STOPPED_ORDERS // 5
    is_dead = JobFilter(statuses=[JobStatus.DEAD], kinds=["close_order"])
    dead = storage.job_reader.page(is_dead, 100, 0)
    assert dead.total == STOPPED_ORDERS // 30
    job, attempts, *_ = storage.job_reader.with_attempts(dead.rows[0].id)
    assert job.completed_at is not None
    assert (datetime.now(UTC) - job.completed_at).total_seconds() < 300  # noqa: TID251
    (attempt,) = attempts
    assert "in _check_entry" in str(attempt.traceback)
    lines = storage.logs.tail(job.id, None, 10).lines
    assert [line.level for line in lines] == ["INFO", "WARNING", "ERROR"]


def test_schedules_have_fired_in_time_and_some_have_failed(storage: Storage) -> None:
    takings = storage.cron.get("takings")
    assert takings.last_fired_at is not None
    assert (datetime.now(UTC) - takings.last_fired_at).total_seconds() < 1900  # noqa: TID251
    of_reports = {
        status: storage.job_reader.total(
            JobFilter(statuses=[status], kinds=["build_report"])
        )
        for status in (JobStatus.DONE, JobStatus.DEAD)
    }
    assert of_reports[JobStatus.DONE] > 40
    assert of_reports[JobStatus.DEAD] >= 6


def test_jobs_wait_for_another_attempt_and_a_worker_is_lost(storage: Storage) -> None:
    is_retrying = JobFilter(statuses=[JobStatus.FAILED])
    assert storage.job_reader.total(is_retrying) >= 6
    (lost,) = storage.worker_reader.known()
    assert lost.worker_name == LOST
    assert lost.lost_at is not None


def test_a_report_is_done_and_another_one_stands(storage: Storage) -> None:
    """It goes on once the ledger does and its city is retried."""
    stands, done = storage.batches.page(5)

    assert (done.state, done.done) == (BatchState.DONE, shop.CITIES)
    assert done.on_success is not None
    sent = storage.job_reader.get(done.on_success.job_id)
    assert sent.status is JobStatus.DONE
    assert (stands.state, stands.dead) == (BatchState.RUNNING, 2)
    waiting = storage.batches.jobs(stands.id, status=JobStatus.PENDING)
    assert len(waiting) == stands.waiting == 5
    dead = storage.batches.jobs(stands.id, status=JobStatus.DEAD)
    assert [job.ending for job in dead] == [Ending.DEAD, Ending.CANCELLED]


def test_operators_have_left_their_entries(storage: Storage) -> None:
    entries = storage.audit.page(AuditFilter(), 10)
    assert entries[0].record.actor == scenery.WHO
    assert [each.record.action for each in entries] == [
        "queue_actions", "cron_change", "jobs_act", "put_rate_limit",
    ]  # fmt: skip


def test_the_shop_is_not_set_up_again(prepared: tuple[Flask, float]) -> None:
    app, _ = prepared
    storage = state_of(app).storage
    before: Any = storage.job_reader.total(JobFilter())
    storage.queues.change(shop.LEDGER, QueueChanges(paused=False))

    scenery.prepare(app, to_micros(datetime.now(UTC)))  # noqa: TID251

    assert not storage.queues.get(shop.LEDGER).paused
    assert storage.job_reader.total(JobFilter()) == before
