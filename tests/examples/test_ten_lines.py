"""The program of the README, as written there, with a real worker on both backends."""

from __future__ import annotations

import importlib
import sqlite3
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app
from flask import request as flask_request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text as sql_text

from flask_forge_jobs import Dead, ForgeJobs, JobStatus, TaskContext, Throttled
from flask_forge_jobs.model.jobs import Job, JobFilter
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.sqlite.checkpoint import has_wal_reset_bug
from tests.support.applications import worker
from tests.support.backends import long

README = Path(__file__).parents[2] / "README.rst"
MODULE = "ten_lines"
URL = "postgresql://app@localhost/app"
ORDERS = """
class Order(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.String(255), nullable=False)

@forge.task
def send_receipt(order_id: int) -> None: ...
"""


def python_blocks() -> list[str]:
    """Return the Python that the README shows, block by block."""
    blocks = README.read_text("utf-8").split(".. code-block:: python\n")[1:]
    return [textwrap.dedent(_indented(block)) for block in blocks]


def _indented(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("    "):
            break
        lines.append(line)
    return "\n".join(lines)


PROGRAM, OPTIONS, SHARED, TEST, POSTGRES_KEY = python_blocks()


@pytest.fixture
def program(
    backend: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The imported program; on PostgreSQL with the one key that it takes."""
    text = PROGRAM
    if backend == "postgres":
        key = POSTGRES_KEY.replace(URL, database_url)
        assert key != POSTGRES_KEY
        text = text.replace("forge = ForgeJobs(app)", f"{key}\nforge = ForgeJobs(app)")
    (tmp_path / f"{MODULE}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(MODULE)
    yield module
    state_of(module.app).storage.close()
    del sys.modules[MODULE]


def stored(program: Any, job_id: str) -> Job:
    return state_of(program.app).storage.job_reader.get(job_id)


def test_the_program_has_ten_lines() -> None:
    code = [line for line in PROGRAM.splitlines() if line.strip()]

    assert len(code) == 10


def test_a_request_stores_a_job_and_a_worker_runs_it(
    program: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = program.app.test_client().post("/signup")
    job_id = answer.get_json()["job"]
    before = stored(program, job_id)

    with worker(program.app) as runs:
        runs.wait_for(1)

    assert (before.status, before.payload) == (JobStatus.PENDING, '{"user_id":7}')
    assert stored(program, job_id).status is JobStatus.DONE
    assert "welcome 7" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_job_is_in_the_file_before_enqueue_returns(
    program: Any, tmp_path: Path
) -> None:
    """Seen by a connection of somebody else, as a worker process is."""
    with program.app.app_context():
        job_id = program.send_welcome.enqueue(user_id=7).id

    file = tmp_path / "instance" / "queue.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as other:
        assert other.execute("SELECT id FROM forge_job").fetchall() == [(job_id,)]


def test_tasks_run_within_an_application_context(program: Any) -> None:
    forge: ForgeJobs = program.forge

    @forge.task
    def where() -> str:
        return current_app.name

    with program.app.app_context():
        job_id = where.enqueue().id
    with worker(program.app) as runs:
        runs.wait_for(1)

    assert stored(program, job_id).result == f'"{program.app.name}"'


def test_an_exception_is_a_failure_and_is_tried_again(program: Any) -> None:
    forge: ForgeJobs = program.forge

    @forge.task(retry=[0.1, 600])
    def breaks() -> None:
        raise LookupError("no such user")

    with program.app.app_context():
        job_id = breaks.enqueue().id
    with worker(program.app) as runs:
        runs.wait_for(2)

    job = stored(program, job_id)
    assert (job.status, job.attempts, job.max_attempts) == (JobStatus.FAILED, 2, 5)
    messages = [entry.message for entry in job.error_history]
    assert messages == ["LookupError: no such user"] * 2


@pytest.mark.parametrize(
    ("ending", "status", "text"),
    [
        (Dead("gone for good"), JobStatus.DEAD, "gone for good"),
        long(Throttled(60), JobStatus.PENDING, None),
    ],
    ids=["Dead", "Throttled"],
)
def test_a_task_may_end_in_other_ways(
    program: Any, ending: Exception, status: JobStatus, text: str | None
) -> None:
    forge: ForgeJobs = program.forge

    @forge.task
    def ends() -> None:
        raise ending

    with program.app.app_context():
        job_id = ends.enqueue().id
    with worker(program.app) as runs:
        runs.wait_for(1)

    job = stored(program, job_id)
    assert (job.status, job.last_error) == (status, text)


def test_options_are_as_the_readme_says(program: Any) -> None:
    """The second block: options of one job, and those of a task with a context."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)  # noqa: TID251  # as a user would
    names = {"tomorrow": tomorrow, "TaskContext": TaskContext}
    with program.app.app_context():
        exec(OPTIONS, vars(program) | names)
        again = program.send_welcome.options(dedupe_key="welcome:7").enqueue(user_id=7)

    job = stored(program, again.id)
    assert again.is_deduped
    assert (job.queue_name, job.payload) == ("mail", '{"user_id":7}')
    assert job.scheduled_at == tomorrow
    sync = program.forge.registry.get("sync")
    assert sync.timeout_s == 30
    assert sync.job(account_id=1).max_attempts == 10


def test_a_job_is_part_of_the_transaction_of_its_order(
    backend: str, database_url: str, tmp_path: Path
) -> None:
    """The third block, with a table and a task as a reader has them."""
    app = Flask("shop", instance_path=str(tmp_path))
    url = database_url.replace("postgresql:", "postgresql+psycopg2:")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    names: dict[str, Any] = {
        "app": app,
        "SQLAlchemy": SQLAlchemy,
        "ForgeJobs": ForgeJobs,
        "request": flask_request,
    }
    setup, at, view = SHARED.partition("@app.post")
    exec(setup, names)
    exec(ORDERS, names)
    exec(f"{at}{view}", names)
    db = names["db"]
    with app.app_context():
        db.create_all()

    answer = app.test_client().post("/orders", data={"email": "ann@example.org"})

    reader = state_of(app).storage.job_reader
    (found,) = reader.page(JobFilter(kinds=["send_receipt"]), 2).rows
    order = answer.get_json()["order"]
    assert reader.get(found.id).payload == f'{{"order_id":{order}}}'
    with app.app_context():
        if backend == "sqlite" and has_wal_reset_bug():
            limit = db.session.execute(sql_text("PRAGMA wal_autocheckpoint")).scalar()
            assert limit == 0
            db.session.remove()
        db.drop_all()
        db.engine.dispose()
    state_of(app).storage.close()
