"""What jobs carry of requests and of other jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import ForgeJobs, NewJob, TaskContext
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.testing import JobsKit
from tests.support.jobs import claim_one

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADERS = {"X-Request-Id": "req-1", "traceparent": TRACE, "tracestate": "a=1"}
CARRIED = {"request_id": "req-1", "traceparent": TRACE, "tracestate": "a=1"}
BY_VIEW = CARRIED | {"origin": "POST /look/<int:number>"}
BY_TASK = CARRIED | {"origin": "task look"}

forge = ForgeJobs()
seen: list[dict[str, str]] = []


@forge.task
def look(context: TaskContext, again: bool = False) -> None:  # noqa: FBT002
    seen.append(dict(context.carried))
    if again:
        look.enqueue()


@pytest.fixture
def kit() -> Iterator[JobsKit]:
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///:memory:"
    forge.init_app(app)

    @app.post("/look/<int:number>")
    def view(number: int) -> str:
        assert number == 7
        look.enqueue(again=True)
        forge.enqueue_many([look.job()])
        return ""

    with JobsKit(app) as kit:
        seen.clear()
        yield kit


@pytest.fixture
def client(kit: JobsKit) -> FlaskClient:
    client = kit.app.test_client()
    client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
    return client


def test_a_job_knows_the_request_that_enqueued_it(
    kit: JobsKit, client: FlaskClient
) -> None:
    client.post("/look/7?secret=1", headers=HEADERS)

    kit.drain()

    assert seen == [BY_VIEW, BY_VIEW, BY_TASK]  # the third by way of the first


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("v1/jobs", {"kind": "look", "payload": {}}),
        ("jobs/enqueue", {"kind": "look", "payload": {}}),
        ("v1/jobs/bulk", {"items": [{"kind": "look", "payload": {}}]}),
    ],
)
def test_a_request_to_the_api_is_carried_too(
    kit: JobsKit, client: FlaskClient, path: str, body: Any
) -> None:
    client.post(f"/forge-jobs/{path}", json=body, headers=HEADERS)

    kit.drain()

    assert seen == [CARRIED | {"origin": f"POST /forge-jobs/{path}"}]


def test_what_has_another_form_is_left_out(kit: JobsKit, client: FlaskClient) -> None:
    wrong = {"X-Request-Id": "x" * 129, "traceparent": "1-2-3", "tracestate": "é"}
    client.post("/look/7?secret=1", headers=wrong)
    client.post("/look/7?secret=1", headers={"X-Request-Id": "a b"})
    with kit.app.app_context():
        look.enqueue()

    kit.drain()

    by_view, by_task = ({"origin": each["origin"]} for each in (BY_VIEW, BY_TASK))
    assert sorted(map(str, seen)) == sorted(
        map(str, [by_view] * 4 + [by_task] * 2 + [{}])
    )
    assert {job.origin for job in kit.enqueued()} == {
        "POST /look/<int:number>",
        "task look",
        None,
    }


def test_a_job_knows_the_command_that_enqueued_it(kit: JobsKit) -> None:
    @kit.app.cli.group("shop")
    def shop() -> None:
        """Stand for a group of the application."""

    @shop.command("look")
    @click.argument("word")
    def command(word: str) -> None:
        assert word
        look.enqueue()

    runner = kit.app.test_cli_runner()

    mine = runner.invoke(args=["shop", "look", "c4n4ry"])
    ours = runner.invoke(args=["forge-jobs", "enqueue", "look"])

    assert (mine.exit_code, ours.exit_code) == (0, 0), ours.output
    assert [job.origin for job in kit.enqueued()] == [
        "command shop look",
        "command forge-jobs enqueue",
    ]


def test_a_job_of_a_schedule_knows_the_schedule(storage: Storage) -> None:
    job_id = storage.jobs.enqueue(NewJob("noop", schedule_name="nightly")).id

    assert storage.job_reader.get(job_id).origin == "schedule nightly"


@pytest.mark.parametrize("many", [False, True])
def test_what_is_carried_comes_with_every_claim(
    storage: Storage, *, many: bool
) -> None:
    job = NewJob("noop").with_carried('{"request_id":"r"}')
    if many:
        storage.jobs.enqueue_many([job, NewJob("noop", dedupe_key="k", carried="{}")])
    else:
        storage.jobs.enqueue(job)

    claimed = claim_one(storage)

    assert claimed.carried == '{"request_id":"r"}'
    assert storage.jobs.held("owner-1")[0].carried == '{"request_id":"r"}'
    assert storage.job_reader.get(claimed.id).carried == '{"request_id":"r"}'


def test_a_job_that_runs_where_it_is_enqueued_has_it_as_well(
    kit: JobsKit, client: FlaskClient
) -> None:
    kit.mode = "inline"

    client.post("/look/7?secret=1", headers=HEADERS)

    assert sorted(each["origin"] for each in seen) == [
        BY_VIEW["origin"],
        BY_VIEW["origin"],
        BY_TASK["origin"],
    ]
    assert all(each.items() >= CARRIED.items() for each in seen)
    assert state_of(kit.app).is_inline()
