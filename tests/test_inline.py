"""Jobs that run where they are enqueued, as they do under TESTING."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask, appcontext_pushed, g, has_request_context, request

from flask_forge_jobs import (
    Dead,
    ForgeJobs,
    InvalidInputError,
    JobStatus,
    NewJob,
    TaskContext,
    Throttled,
    current_job,
)
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.runtime.inline import MAX_NESTED
from flask_forge_jobs.state import state_of
from flask_forge_jobs.testing import JobsKit

MakeApp = Callable[..., Flask]


@pytest.fixture
def forge() -> ForgeJobs:
    return ForgeJobs()


@pytest.fixture
def make_app(forge: ForgeJobs, tmp_path: Path) -> Iterator[MakeApp]:
    """Makes applications that are told of TESTING once they are set up."""
    with contextlib.ExitStack() as stack:

        def make(*, testing: bool = True, **config: object) -> Flask:
            app = Flask("shop", instance_path=str(tmp_path))
            app.config.update(config)
            forge.init_app(app)
            app.testing = testing
            stack.callback(state_of(app).storage.close)
            return app

        yield make


@pytest.fixture
def app(make_app: MakeApp) -> Iterator[Flask]:
    app = make_app()
    with app.app_context():
        yield app


def statuses(app: Flask) -> dict[str, list[str]]:
    """Return the states of the stored jobs by kind."""
    found: dict[str, list[str]] = {}
    page = state_of(app).storage.job_reader.page
    for job in reversed(page(JobFilter(), 100).rows):
        found.setdefault(job.kind, []).append(str(job.status))
    return found


# -- inside a request ------------------------------------------------------------------


def test_it_runs_in_the_request_and_in_its_application_context(
    make_app: MakeApp, forge: ForgeJobs
) -> None:
    app = make_app()
    seen: list[object] = []

    @forge.task
    def greet(context: TaskContext, name: str) -> str:
        assert current_job.job_id == context.job_id
        seen.append((name, g.mark, request.path, has_request_context()))
        g.mark = "the task's"
        return name

    @app.post("/signup")
    def sign_up() -> dict[str, str]:
        g.mark = "the view's"
        job_id = greet.enqueue("Ann").id
        assert bool(current_job) is False
        return {"job": job_id, "mark": g.mark}

    pushed: list[object] = []
    with appcontext_pushed.connected_to(lambda *_, **__: pushed.append(1), app):
        answer = app.test_client().post("/signup").json

    assert seen == [("Ann", "the view's", "/signup", True)]
    assert answer is not None
    assert answer["mark"] == "the task's"
    assert len(pushed) == 1
    job = state_of(app).storage.job_reader.get(answer["job"])
    assert (job.status, job.result, job.attempts) == (JobStatus.DONE, '"Ann"', 1)


def test_the_error_of_a_task_reaches_the_test_as_it_is(
    make_app: MakeApp, forge: ForgeJobs
) -> None:
    app = make_app()
    error = KeyError("id")

    @forge.task
    def greet() -> None:
        raise error

    app.post("/")(lambda: greet.enqueue().id)

    with pytest.raises(KeyError) as raised:
        app.test_client().post("/")

    assert raised.value is error
    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert frames[-1] == "greet"
    assert statuses(app) == {"greet": ["failed"]}


@pytest.mark.parametrize("is_async", [False, True])
def test_it_runs_within_a_running_event_loop(
    app: Flask, forge: ForgeJobs, *, is_async: bool
) -> None:
    seen: list[object] = []

    async def later() -> None:
        await asyncio.sleep(0)
        seen.append(current_job.kind)

    task = forge.task(kind="greet")(later if is_async else lambda: seen.append("greet"))

    async def view() -> None:
        task.enqueue()

    asyncio.run(view())

    assert seen == ["greet"]
    assert statuses(app) == {"greet": ["done"]}


# -- what runs and what waits ----------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "testing", "expected"),
    [
        (None, True, "done"),
        (None, False, "pending"),
        ("auto", True, "done"),
        ("on", False, "done"),
        ("off", True, "pending"),
    ],
)
def test_testing_decides_unless_told_otherwise(
    make_app: MakeApp,
    forge: ForgeJobs,
    setting: str | None,
    expected: str,
    *,
    testing: bool,
) -> None:
    config = {} if setting is None else {"FORGE_JOBS_INLINE": setting}
    app = make_app(testing=testing, **config)

    @forge.task
    def greet() -> None: ...

    with app.app_context():
        greet.enqueue()
        forge.enqueue("greet")
        forge.enqueue_many([greet.job()])

    assert statuses(app) == {"greet": [expected] * 3}


def test_what_may_not_start_now_waits(app: Flask, forge: ForgeJobs) -> None:
    @forge.task
    def greet() -> None: ...

    now = from_micros(state_of(app).clock.now_us())
    greet.options(run_at=now + timedelta(hours=1), dedupe_key="late").enqueue()
    assert greet.options(dedupe_key="late").enqueue().is_deduped
    forge.storage.queues.ensure("paused")
    forge.storage.queues.change("paused", {"paused": True})
    greet.options(queue="paused").enqueue()
    forge.enqueue("elsewhere")
    client = app.test_client()
    client.post("/forge-jobs/v1/jobs", json={"kind": "greet", "payload": {}})

    assert statuses(app) == {"greet": ["pending"] * 3, "elsewhere": ["pending"]}


def test_throttling_waits_and_giving_up_is_an_error(
    app: Flask, forge: ForgeJobs
) -> None:
    @forge.task
    def greet(how: str) -> object:
        if how == "later":
            raise Throttled(5, scope="job")
        return Dead(how)

    greet.enqueue("later")
    with pytest.raises(Dead, match="hopeless"):
        greet.enqueue("hopeless")

    assert statuses(app) == {"greet": ["pending", "dead"]}


def test_of_many_all_are_stored_and_the_first_failure_ends_it(
    app: Flask, forge: ForgeJobs
) -> None:
    @forge.task
    def greet(number: int) -> None:
        assert statuses(app)["greet"][2] == "pending"
        if number == 2:
            raise ValueError(number)

    with pytest.raises(ValueError, match="2"):
        forge.enqueue_many([greet.job(number) for number in (1, 2, 3)])

    assert statuses(app) == {"greet": ["done", "failed", "pending"]}


# -- jobs of jobs ----------------------------------------------------------------------


def test_jobs_that_a_job_enqueues_run_as_well(app: Flask, forge: ForgeJobs) -> None:
    order: list[str] = []

    @forge.task
    def first(context: TaskContext) -> None:
        order.append("first begins")
        second.enqueue()
        context.enqueue(NewJob("second"))
        order.append("first ends")

    @forge.task
    def second() -> None:
        order.append("second")

    first.enqueue()

    assert order == ["first begins", "second", "second", "first ends"]
    assert statuses(app) == {"first": ["done"], "second": ["done"] * 2}


def test_a_job_that_enqueues_itself_without_end_is_an_error(
    app: Flask, forge: ForgeJobs
) -> None:
    @forge.task
    def again() -> None:
        again.enqueue()

    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"20 jobs .* does again enqueue itself"):
            again.enqueue()

    assert statuses(app) == {"again": (["failed"] * MAX_NESTED + ["pending"]) * 2}


# -- a caller's transaction ------------------------------------------------------------


def connect(settings: DatabaseSettings) -> Any:
    if settings.backend == "sqlite":
        return sqlite3.connect(str(settings.path))
    return psycopg2.connect(**settings.connect_parameters())


def test_a_job_in_a_caller_s_transaction_waits_until_it_is_drained(
    make_app: MakeApp,
    forge: ForgeJobs,
    database_url: str,
    database_settings: DatabaseSettings,
) -> None:
    """It may be rolled back yet, and a task would not see what it works on."""
    app = make_app(FORGE_JOBS_DATABASE_URL=database_url)
    state_of(app).storage.open()
    ran: list[int] = []

    @forge.task
    def greet(number: int) -> None:
        ran.append(number)

    with (
        JobsKit(app, "inline") as jobs,
        app.app_context(),
        contextlib.closing(connect(database_settings)) as connection,
    ):
        greet.options(connection=connection).enqueue(1)
        connection.rollback()
        forge.enqueue_many([greet.job(2)], connection=connection)
        connection.commit()
        assert ran == []
        assert statuses(app) == {"greet": ["pending"]}
        jobs.drain()

    assert ran == [2]


def test_whoever_joins_jobs_in_memory_is_told_what_to_set(
    app: Flask, forge: ForgeJobs
) -> None:
    @forge.task
    def greet() -> None: ...

    usual = Path(app.instance_path) / "queue.sqlite"
    with (
        contextlib.closing(sqlite3.connect(usual)) as connection,
        pytest.raises(
            InvalidInputError, match="name a file in FORGE_JOBS_DATABASE_URL"
        ),
    ):
        greet.options(connection=connection).enqueue()
