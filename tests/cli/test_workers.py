from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.handlers.workers import get_worker, list_workers
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import sqlite_first
from tests.support.commands import Application
from tests.support.runtimes import add, wait_for_status
from tests.support.waiting import wait_until


def shown(database_url: str, tmp_path: Path, *options: str) -> str:
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["FORGE_JOBS_DATABASE_URL"] = database_url
    ForgeJobs(app)
    command = ["forge-jobs", "workers", *options]
    return app.test_cli_runner().invoke(args=command).output


def test_without_a_worker_the_command_says_how_to_start_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.sqlite"

    assert shown(url, tmp_path) == (
        "no worker is running; start one with `flask forge-jobs worker`\n"
    )
    assert shown(url, tmp_path, "--json") == ""


@pytest.mark.long
@sqlite_first
def test_a_killed_worker_shows_as_lost_with_its_job(
    storage: Storage, application: Application, database_url: str, tmp_path: Path
) -> None:
    """Real workers: one runs a job and is killed, the other rescues it."""
    with application.worker("--name", "first") as first:
        job_id = add(storage, "held")
        first.wait_for("STARTED")
        (known,) = storage.worker_reader.known()
        worker_id = known.worker_id
        wait_until(
            lambda: bool(get_worker(storage, worker_id).running),
            "the slot shows its job",
        )
        running = get_worker(storage, worker_id)
        first.signal(signal.SIGKILL)
        first.wait()
    # The rescued job stays failed: no worker starts its next attempt.
    storage.queues.set_paused_many(["default"], paused=True)
    with application.worker("--name", "second"):
        wait_for_status(storage, job_id, JobStatus.FAILED)
        wait_until(
            lambda: list_workers(storage).counts.lost == 1, "the first one is lost"
        )
        lines = shown(database_url, tmp_path).splitlines()
        found = [
            json.loads(line)
            for line in shown(database_url, tmp_path, "--json").splitlines()
        ]

    (run,) = running.running
    assert (run.job_id, run.kind, run.queue_name) == (job_id, "held", "default")
    assert running.worker.pid == first.process.pid
    assert running.idle_slots == running.slots - 1
    assert [row["state"] for row in found] == ["live", "lost"]
    assert [row["worker_name"] for row in found] == ["second", "first"]
    assert found[1]["lost_at"] is not None
    (rescued,) = found[1]["rescued"]
    assert (rescued["job_id"], rescued["status"]) == (job_id, "failed")
    assert lines[0].split()[:3] == ["WORKER", "STATE", "SEEN"]
    assert lines[2].split()[:2] == ["first", "lost"]
    assert lines[3] == f"  {job_id} held in default was rescued and is failed"
    assert [worker.worker_name for worker in storage.workers.all()] == ["second"]
