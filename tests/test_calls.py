"""What an enqueue costs besides its statement: how many functions of ours it calls."""

from __future__ import annotations

import contextlib
from pathlib import Path

from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.state import state_of
from tests.benchmarks.calls import Calls

MOST_CALLS = 45


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
        calls = Calls().during(lambda: note.enqueue(number=1))

    assert len(calls) <= MOST_CALLS, calls
