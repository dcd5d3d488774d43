"""A schedule over HTTP follows the task of its kind, whoever makes its jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.state import state_of
from tests.support.applications import worker
from tests.support.sql import Sql
from tests.support.waiting import wait_until

URL = "/forge-jobs"
SCHEDULE = {"name": "nightly", "kind": "send", "cron_expr": "@yearly"}
MakeApp = Callable[..., Flask]
Jobs = list[tuple[Any, ...]]


@pytest.fixture
def make_app(database_url: str) -> Iterator[MakeApp]:
    """Makes applications of one database with tasks of these kinds and options."""
    with contextlib.ExitStack() as stack:

        def make(**tasks: dict[str, Any]) -> Flask:
            app = Flask("shop")
            app.config.update(FORGE_JOBS_DATABASE_URL=database_url)
            app.debug = True
            forge = ForgeJobs(app)
            for kind, options in tasks.items():
                forge.task(kind=kind, **options)(lambda: None)
            stack.callback(state_of(app).storage.close)
            return app

        yield make


def client_of(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
    return client


def fired(app: Flask, sql: Sql) -> Jobs:
    """Let a worker of the application fire; return queue and attempts of the jobs."""
    sql.run("DELETE FROM forge_job")
    sql.run("UPDATE forge_cron SET next_fire_at = ?", sql.now_us())
    with worker(app, ["elsewhere"]):
        wait_until(lambda: sql.run("SELECT 1 FROM forge_job"), "a firing")
    return stored(sql)


def made_by(app: Flask, sql: Sql, path: str, body: object = None) -> Jobs:
    """Make a request; return queue and attempts of the jobs."""
    sql.run("DELETE FROM forge_job")
    answer = client_of(app).post(URL + path, json=body)
    assert answer.status_code in (200, 201), answer.text
    return stored(sql)


def stored(sql: Sql) -> Jobs:
    return sql.run("SELECT queue_name, max_attempts FROM forge_job")


def test_a_schedule_follows_its_task_through_deploys(
    make_app: MakeApp, sql: Sql
) -> None:
    before = make_app(send={"queue": "old", "max_attempts": 2})
    answer = client_of(before).post(f"{URL}/v1/cron", json=SCHEDULE)
    assert answer.status_code == 201, answer.text

    assert fired(before, sql) == [("old", 2)]
    after = make_app(send={"queue": "new", "max_attempts": 7})
    assert fired(after, sql) == [("new", 7)]
    assert fired(make_app(), sql) == [("default", 5)]


def test_another_kind_brings_the_options_of_its_task(
    make_app: MakeApp, sql: Sql
) -> None:
    app = make_app(
        send={"queue": "mail", "max_attempts": 1},
        tidy={"queue": "night", "max_attempts": 9},
    )
    client_of(app).post(f"{URL}/v1/cron", json=SCHEDULE)

    client_of(app).patch(f"{URL}/v1/cron/nightly", json={"kind": "tidy"})

    assert fired(app, sql) == [("night", 9)]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, ("mail", 2)),
        ({"queue_name": "slow"}, ("slow", 2)),
        ({"max_attempts": 9}, ("mail", 9)),
    ],
)
def test_a_firing_a_trigger_and_an_enqueue_make_the_same_job(
    make_app: MakeApp, sql: Sql, own: dict[str, Any], expected: tuple[str, int]
) -> None:
    # The schedule is older than the task.
    client_of(make_app()).post(f"{URL}/v1/cron", json=SCHEDULE | own)
    app = make_app(send={"queue": "mail", "max_attempts": 2})
    job = {"kind": "send", "payload": {}} | own

    assert fired(app, sql) == [expected]
    assert made_by(app, sql, "/cron/nightly/trigger") == [expected]
    assert made_by(app, sql, "/v1/jobs", job) == [expected]
