from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("shop", instance_path=str(tmp_path))
    ForgeJobs(app)
    return app


@pytest.fixture
def storage(app: Flask) -> Iterator[Storage]:
    storage = state_of(app).storage
    storage.queues.create(QueueSettings("mail", paused=True))
    yield storage
    storage.close()


def invoke(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["forge-jobs", "explain", *words])


def test_a_queue_and_a_job_are_explained_with_what_helps(
    app: Flask, storage: Storage
) -> None:
    job_id = storage.jobs.enqueue(NewJob("send", queue_name="mail")).id

    for name in ("mail", job_id):
        lines = invoke(app, name).output.splitlines()

        assert lines[0].startswith("mail is paused for ")
        assert lines[1] == "$ flask forge-jobs queues resume mail"


def test_it_may_be_json(app: Flask, storage: Storage) -> None:
    sentence = json.loads(invoke(app, "mail", "--json").output)

    assert sentence["code"] == "queue_paused"
    assert sentence["evidence"]["paused_at"].endswith("Z")
    assert sentence["action"]["label"] == "Resume"
    assert storage.queues.get("mail").paused


def test_foreign_text_steers_no_terminal(app: Flask, storage: Storage) -> None:
    name = "\x1b[31mred\u202e"
    storage.queues.create(QueueSettings("bulk"))
    storage.workers.beat("w1", name, ["bulk"], ())
    storage.workers.reap(["w1"])
    job_id = storage.jobs.enqueue(NewJob("send", queue_name="bulk")).id

    output = invoke(app, job_id).output

    assert "The last one, \\x1b[31mred\\u202e, was seen" in output
    assert not {"\x1b", "\u202e"} & set(output)


def test_an_unknown_name_is_an_error(app: Flask, storage: Storage) -> None:
    result = invoke(app, "none")

    assert result.exit_code == 1
    assert "none" in result.stderr
    assert storage.queues.get("mail").paused
