from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import enqueue


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("shop", instance_path=str(tmp_path))
    ForgeJobs(app)
    return app


@pytest.fixture
def storage(app: Flask) -> Storage:
    return state_of(app).storage


def status(app: Flask, *options: str) -> Result:
    result = app.test_cli_runner().invoke(args=["forge-jobs", "status", *options])
    state_of(app).storage.close()
    return result


def test_nothing_needs_anybody(app: Flask, storage: Storage) -> None:
    storage.queues.ensure("mail")
    storage.workers.beat("W", "worker-1", ["mail"], [])

    result = status(app)

    first, jobs, worker, versions = result.output.splitlines()
    assert first.startswith("Nothing needs you: 1 worker live, 1 of 1 queue served, ")
    assert jobs == (
        "jobs: 0 waiting, 0 scheduled, 0 in progress, 0 retrying, 0 done, 0 dead"
    )
    assert worker == "worker worker-1: live, mail"
    assert versions.startswith("versions: flask-forge-jobs ")
    assert ", schema 1, sqlite3 " in versions
    assert result.exit_code == 0


def test_each_sentence_has_the_command_that_helps(app: Flask, storage: Storage) -> None:
    for name in ("mail", "bills"):
        enqueue(storage, queue_name=name)
    storage.queues.change("mail", {"max_pending": 1})
    storage.workers.beat("W", None, ["mail"], [])

    result = status(app)

    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith("2 things need you: ")
    assert lines[1].startswith("- Queue bills has no worker. 1 job waits")
    assert lines[2] == "    $ flask forge-jobs worker --queues bills"
    assert lines[3].startswith("- mail is full: ")
    assert lines[4] == "    $ flask forge-jobs queues set mail --max-pending 2"


def test_of_one_queue(app: Flask, storage: Storage) -> None:
    for name in ("mail", "bills"):
        enqueue(storage, queue_name=name)
    storage.workers.beat("W", None, ["mail"], [])

    mail, bills = status(app, "--queue", "mail"), status(app, "--queue", "bills")
    missing = status(app, "--queue", "mial")

    assert (mail.exit_code, bills.exit_code) == (0, 1)
    assert "bills" not in mail.output
    assert missing.exit_code == 1
    assert "mial" in missing.stderr


def test_as_json(app: Flask, storage: Storage) -> None:
    enqueue(storage, queue_name="mail")
    storage.workers.beat("W", "worker-1", ["mail"], [])

    result = status(app, "--json")

    document = json.loads(result.output)
    assert list(document) == [
        "at", "summary", "sentences", "left_out", "counts", "workers", "versions",
    ]  # fmt: skip
    assert document["counts"]["pending"] == 1
    [worker] = document["workers"]
    assert (worker["worker_id"], worker["is_live"]) == ("W", True)
    assert document["versions"]["backend"] == "sqlite"
    assert result.exit_code == 0


def test_sentences_that_are_left_out_are_counted(app: Flask, storage: Storage) -> None:
    for number in range(21):
        enqueue(storage, queue_name=f"q{number}")
    storage.workers.beat("W", None, ["mail"], [])

    assert "and 1 more" in status(app).output.splitlines()
