from __future__ import annotations

import json
import os
import random
import signal
import threading
from pathlib import Path

import pytest

from flask_forge_jobs import demo
from flask_forge_jobs.demo import DemoProducer
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.server import create_app
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.support.runtimes import threads_named
from tests.support.waiting import wait_until


def test_demo_jobs_are_enqueued_and_some_fail(storage: Storage) -> None:
    producer = DemoProducer(storage.jobs, random.Random(7))

    for _ in range(40):
        producer.tick()

    rows = storage.job_reader.page(JobFilter(), 100, 0).rows
    payloads = [json.loads(storage.job_reader.get(row.id).payload) for row in rows]
    assert {row.kind for row in rows} == {"noop_echo"}
    assert all(20 <= payload["sleep_ms"] < 400 for payload in payloads)
    assert 0 < sum(payload["fail"] for payload in payloads) < 20


def environ(folder: Path) -> dict[str, str]:
    return {"JOBS_CONFIG_DIR": str(folder), "JOBS_DATA_DIR": str(folder)}


def test_run_enqueues_demo_jobs_until_a_signal(tmp_path: Path) -> None:
    app = create_app(environ(tmp_path), demo=tmp_path)
    storage = state_of(app).storage

    def stop_when_done() -> None:
        wait_until(
            lambda: (
                storage.job_reader.page(
                    JobFilter(statuses=[JobStatus.DONE]), 1, 0
                ).total
            ),
            "a job is done",
        )
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop_when_done)
    stopping.start()
    status = demo.run(app)
    stopping.join()

    assert status == 0
    assert storage.workers.all() == []
    wait_until(lambda: not threads_named("forge-jobs-demo-jobs"), "it has ended")
    storage.close()


def test_a_worker_that_cannot_start_stops_the_producer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(environ(tmp_path), demo=tmp_path)

    def refuse(*_: object, **__: object) -> int:
        raise StorageUnavailableError("gone")

    monkeypatch.setattr(demo, "run_in_foreground", refuse)
    with pytest.raises(StorageUnavailableError, match="gone"):
        demo.run(app)

    wait_until(lambda: not threads_named("forge-jobs-demo-jobs"), "it has ended")
    state_of(app).storage.close()
