"""A command is a request to the API: the same answer, the same audit entry."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.cli.local_api import LocalApi, given
from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.state import state_of
from tests.cli.console import Console
from tests.support.jobs import enqueue, job_with

READS = [
    (("queues", "list"), "/v1/queues"),
    (("queues", "show", "mail"), "/v1/queues/mail"),
    (("jobs", "list"), "/v1/jobs?limit=30"),
    (("jobs", "list", "--count", "--kind", "noop"), "/v1/jobs/counts?kind=noop"),
    (("cron", "list"), "/v1/cron"),
    (("cron", "show", "nightly"), "/v1/cron/nightly"),
    (("limits", "list"), "/v1/rate-limits"),
    (("kinds",), "/v1/kinds"),
    (("errors",), "/v1/errors"),
    (("events",), "/v1/events?limit=30"),
    (("audit", "list"), "/v1/audit?limit=30"),
    (("workers",), "/v1/workers"),
    (("ready",), "/v1/health/ready"),
]
CHANGES = [
    (
        ("queues", "pause", "mail", "--reason", "token=s3cr3t-t0ken"),
        ("POST", "/v1/queues/actions",
         {"action": "pause", "queues": ["mail"], "reason": "token=s3cr3t-t0ken"}),
    ),
    (
        ("queues", "set", "mail", "--max-workers", "3", "--max-pending", "0"),
        ("PATCH", "/v1/queues/mail", {"max_workers": 3, "max_pending": None}),
    ),
    (
        ("cron", "disable", "nightly"),
        ("POST", "/v1/cron/nightly/enabled", {"enabled": False}),
    ),
    (
        ("cron", "set", "nightly", "--cron", "0 4 * * *"),
        ("PATCH", "/v1/cron/nightly", {"cron_expr": "0 4 * * *"}),
    ),
    (
        ("limits", "set", "mail", "--capacity", "5", "--refill", "0.5"),
        ("PUT", "/v1/rate-limits/mail", {"capacity": 5, "refill_per_sec": 0.5}),
    ),
    (
        ("jobs", "retry", "--dead", "--yes"),
        ("POST", "/v1/jobs/actions",
         {"action": "retry", "filter": {"statuses": ["dead"]}}),
    ),
]  # fmt: skip


def fill(console: Console) -> None:
    """Make a queue, a job, a schedule and a limit."""
    job_with(console.storage, JobStatus.DEAD, queue_name="mail")
    enqueue(console.storage, queue_name="mail")
    console.text("cron", "create", "nightly", "--kind", "noop", "--cron", "0 3 * * *")
    console.text("limits", "set", "card", "--capacity", "5", "--refill", "1")


def client(console: Console) -> FlaskClient:
    console.app.testing = True
    return console.app.test_client()


def without_times(value: object) -> object:
    """Return a document without what time alone changes."""
    if isinstance(value, dict):
        return {
            key: without_times(each)
            for key, each in value.items()
            if not key.endswith(("_age_seconds", "tokens", "refilled_at", "detail"))
        }
    return [without_times(each) for each in value] if isinstance(value, list) else value


def test_json_is_what_the_route_answers(either_console: Console) -> None:
    console = either_console
    fill(console)
    requests = client(console)
    for words, path in READS:
        documents = console.documents(*words)
        answer = requests.get(f"/forge-jobs{path}").get_json()
        rows = next((answer[k] for k in ("rows", "events") if k in answer), answer)
        expected = rows if isinstance(rows, list) else [rows]

        assert without_times(documents) == without_times(expected), path


@pytest.mark.parametrize(("words", "request_"), CHANGES)
def test_a_change_leaves_the_entry_of_its_route(
    console: Console,
    words: tuple[str, ...],
    request_: tuple[str, str, dict[str, object]],
) -> None:
    fill(console)
    method, path, body = request_

    console.text(*words)
    of_command = console.entries()[0]
    # A second pause changes nothing, and there must be another dead job.
    console.storage.queues.set_paused_many(["mail"], paused=False)
    job_with(console.storage, JobStatus.DEAD, queue_name="other")
    client(console).open(f"/forge-jobs{path}", method=method, json=body)
    of_route = console.entries()[0]

    assert of_command.actor.startswith("command:")
    assert of_command != of_route
    assert comparable(of_command) == comparable(of_route)


def comparable(record: AuditRecord) -> AuditRecord:
    arguments = json.loads(record.arguments)
    arguments.pop("edit", None)  # digests of what was there before
    body = {k: v for k, v in arguments["body"].items() if v is not None}
    return replace(
        record,
        actor="",
        address="",
        request_id="",
        arguments=json.dumps(body, sort_keys=True),
    )


def test_a_refused_change_leaves_no_entry(console: Console) -> None:
    job_with(console.storage, JobStatus.PENDING, queue_name="mail")

    assert "none" in console.refusal("queues", "pause", "mail", "none")

    assert console.entries() == []
    assert not console.storage.queues.get("mail").paused


def test_values_that_were_not_given_are_left_out() -> None:
    assert given(a=None, b=(), c=0, d=False, e=("x",)) == {
        "c": 0,
        "d": False,
        "e": ["x"],
    }


def test_bytes_that_are_no_text_are_refused(console: Console) -> None:
    with console.app.app_context():
        api = LocalApi(state_of(console.app), "command:ada")
        with pytest.raises(InvalidInputError, match="UTF-8"):
            api.call("v1_jobs_find", query={"queue": "a\udcff"})
        with pytest.raises(InvalidInputError, match="UTF-8"):
            api.call("v1_job_read", job_id="a\udcff")


def test_rows_follow_the_pages_up_to_the_limit(console: Console) -> None:
    ids = [enqueue(console.storage) for _ in range(5)]
    with console.app.app_context():
        api = LocalApi(state_of(console.app), "command:ada")

        rows = list(api.rows("v1_jobs_find", limit=4, page_size=2))

        assert [row["id"] for row in rows] == ids[:0:-1]
        with pytest.raises(JobNotFoundError):
            api.call("v1_job_read", job_id="nowhere")
