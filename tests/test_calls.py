"""What requests cost besides their statements: how many functions of ours they call."""

from __future__ import annotations

import contextlib
from pathlib import Path

from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.state import state_of
from tests.support.calls import Calls, calls_of_runs

MAX_CALLS = 30
MAX_CALLS_OF_A_CHANGE = 200
MAX_CALLS_OF_A_RUN = 150


def test_an_enqueue_on_sqlite_makes_few_calls(tmp_path: Path) -> None:
    """Each floor between a task and its row is crossed by every job"""
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = f"sqlite:///{tmp_path / 'jobs.db'}"
    forge = ForgeJobs(app)

    @forge.task
    def note(number: int) -> None:
        del number

    with app.app_context(), contextlib.closing(state_of(app).storage):
        note.enqueue(number=0)  # opens the file
        note.enqueue(number=0)  # ends the wait for locks that a hint's read has set
        calls = Calls().during(lambda: note.enqueue(number=1))

    assert len(calls) <= MAX_CALLS, calls


def test_a_change_of_a_queue_makes_few_calls(tmp_path: Path) -> None:
    """Most of them masked the keys of its body for the audit trail, one by one"""
    token, digest = new_token("calls")
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = f"sqlite:///{tmp_path / 'jobs.db'}"
    app.config["FORGE_JOBS_TOKENS"] = [
        {"id": "calls", "sha256": digest, "role": "admin"}
    ]
    forge = ForgeJobs(app)
    client = app.test_client()

    def change() -> None:
        answer = client.post(
            "/forge-jobs/queue/default/backoff",
            headers={"Authorization": f"Bearer {token}"},
            json={"enabled": True, "base_seconds": 60, "max_seconds": 1800},
        )
        assert answer.status_code == 200, answer.text

    with app.app_context(), contextlib.closing(state_of(app).storage):
        forge.enqueue("noop")  # makes the queue
        change()
        # The fewest, because now and then one reads what is kept for a second.
        calls = min((Calls().during(change) for _ in range(3)), key=len)

    assert len(calls) <= MAX_CALLS_OF_A_CHANGE, calls


def test_a_run_on_sqlite_makes_few_calls(tmp_path: Path) -> None:
    """From the round that claims a job to the end of the one that stores its outcome"""
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = f"sqlite:///{tmp_path / 'jobs.db'}"
    forge = ForgeJobs(app)

    @forge.task
    def note(number: int) -> None:
        del number

    with app.app_context(), contextlib.closing(state_of(app).storage):
        note.enqueue(number=0)  # opens the file
        # The fewest, because a wake-up in between adds a round.
        calls = min(calls_of_runs(app, Calls(), note.enqueue, 3), key=len)

    assert len(calls) <= MAX_CALLS_OF_A_RUN, calls
