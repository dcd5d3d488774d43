"""A command is a request to the API: the same answer, the same audit entry."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.cli.local_api import LocalApi, given
from flask_forge_jobs.errors import JobNotFoundError
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
    (("limits", "holders"), "/v1/concurrency"),
    (("kinds",), "/v1/kinds"),
    (("errors",), "/v1/errors"),
    (("events",), "/v1/events?limit=30"),
    (("audit", "list"), "/v1/audit?limit=30"),
    (("workers",), "/v1/workers"),
    (("ready",), "/v1/health/ready"),
]


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


def test_rows_follow_the_pages_up_to_the_limit(console: Console) -> None:
    ids = [enqueue(console.storage) for _ in range(5)]
    with console.app.app_context():
        api = LocalApi(state_of(console.app), "command:ada")

        rows = list(api.rows("v1_jobs_find", limit=4, page_size=2))

        assert [row["id"] for row in rows] == ids[:0:-1]
        with pytest.raises(JobNotFoundError):
            api.call("v1_job_read", job_id="nowhere")
