"""The demo's worker runs until it is told to stop, and adds jobs of every kind."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from flask_forge_jobs.demo import orders, scenery, shop
from flask_forge_jobs.demo.orders import MAX_UNENTERED, WAVE, DemoProducer
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.server import create_app
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import on_sqlite
from tests.support.runtimes import threads_named
from tests.support.waiting import wait_until


def _environ(folder: Path) -> dict[str, str]:
    return {"JOBS_CONFIG_DIR": str(folder), "JOBS_DATA_DIR": str(folder)}


@on_sqlite
def test_every_kind_but_reports_comes_with_the_orders(storage: Storage) -> None:
    """Schedules and a batch make the reports."""
    producer = DemoProducer(storage, 1)

    for _ in WAVE:
        producer.tick()

    orders = range(1, len(WAVE) + 1)
    kinds = {job.kind for order in orders for job in shop.jobs_of(order)}
    of_reports = {"build_report", "count_city", "send_report"}
    assert kinds == {task.kind for task in shop.TASKS} - of_reports
    (report,) = storage.batches.page(2)
    assert report.total == shop.CITIES
    ledger = storage.queues.waiting([shop.LEDGER])[shop.LEDGER]
    assert ledger == len(WAVE) // 5


@on_sqlite
def test_a_paused_queue_grows_to_a_bound(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "MAX_UNENTERED", 3)
    producer = DemoProducer(storage, 1)

    for _ in WAVE:
        producer.tick()

    assert MAX_UNENTERED > 3
    # One more after the last look.
    assert storage.queues.waiting([shop.LEDGER])[shop.LEDGER] in {3, 4}


def test_run_adds_and_runs_jobs_until_a_signal(tmp_path: Path) -> None:
    app = create_app(_environ(tmp_path), demo=tmp_path / "queue.sqlite")
    storage = state_of(app).storage
    storage.open()
    for name in scenery.QUEUES:
        storage.queues.ensure(name)
    is_done = JobFilter(statuses=[JobStatus.DONE])

    def stop_when_done() -> None:
        wait_until(
            lambda: storage.job_reader.page(is_done, 1, 0).total, "a job is done"
        )
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop_when_done)
    stopping.start()
    status = orders.run(app)
    stopping.join()

    assert status == 0
    assert storage.workers.all() == []
    wait_until(lambda: not threads_named("forge-jobs-demo-jobs"), "it has ended")
    storage.close()


def test_a_worker_that_cannot_start_stops_the_producer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(_environ(tmp_path), demo=tmp_path / "queue.sqlite")

    def refuse(*_: object, **__: object) -> int:
        raise StorageUnavailableError("gone")

    monkeypatch.setattr(orders, "run_in_foreground", refuse)
    with pytest.raises(StorageUnavailableError, match="gone"):
        orders.run(app)

    wait_until(lambda: not threads_named("forge-jobs-demo-jobs"), "it has ended")
    state_of(app).storage.close()
