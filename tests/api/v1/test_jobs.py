from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed
from flask_forge_jobs.model.progress import ProgressMeter
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.model.run_logs import LogChunk, LogLine
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.postgres.connection import SessionSettings
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.backends import each_backend
from tests.support.jobs import OWNER, claim_one, dead_with_steps, enqueue, run
from tests.support.sql import Sql

RECORD_KEYS = [
    "row", "payload", "error_history", "throttle_attempts", "cancel_requested_at",
    "progress", "result", "wait_ms", "run_ms", "redacted", "result_error", "traceback",
    "attempts", "signature", "timeout_s", "crashes", "schedule_name", "origin",
    "batch_id", "start_at", "step_count", "checkpoint",
    "waiting_for", "parents", "dependents",
]  # fmt: skip


def find(client: FlaskClient, query: str = "") -> tuple[dict[str, Any], TestResponse]:
    answer = client.get(f"{PREFIX}/v1/jobs{query}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = json.loads(answer.data)
    return document, answer


def read(client: FlaskClient, job_id: str) -> dict[str, Any]:
    answer = client.get(f"{PREFIX}/v1/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = json.loads(answer.data)
    return document


# -- find --------------------------------------------------------------------------


def test_pages_are_linked_by_cursor_and_header(
    client: FlaskClient, storage: Storage
) -> None:
    ids = [enqueue(storage) for _ in range(3)]

    first, answer = find(client, "?limit=2&kind=noop")
    link = answer.headers["Link"]
    target = link.removeprefix("<").removesuffix('>; rel="next"')
    second = client.get(target)

    assert list(first) == ["rows", "next_cursor", "total"]
    assert [row["id"] for row in first["rows"]] == [ids[2], ids[1]]
    assert answer.headers["X-Total-Count"] == "3"
    assert first["next_cursor"] in target
    document = json.loads(second.data)
    assert [row["id"] for row in document["rows"]] == [ids[0]]
    assert (document["next_cursor"], document["total"]) == (None, 3)
    assert "Link" not in second.headers


def test_a_total_can_be_left_out(client: FlaskClient, storage: Storage) -> None:
    enqueue(storage)

    document, answer = find(client, "?count=none")

    assert (len(document["rows"]), document["total"]) == (1, None)
    assert "X-Total-Count" not in answer.headers


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"a", "b", "c"}),
        ("?queue=q1", {"a", "b"}),
        ("?queue=q1&queue=q2&kind=x", {"a", "c"}),
        ("?status=pending&status=dead", {"b", "c"}),
        ("?status=scheduled", {"c"}),
        ("?q=NEEDLE", {"b"}),
        ("?q=n%25e", set()),
        ("?error=50%25", {"b"}),
        ("?error=no%25", set()),
        ("?dedupe_key=key", {"b"}),
        ("?slot_id=owner-1", set()),
        ("?cron=nightly", {"a"}),
        ("?min_attempts=1", {"a", "b"}),
        ("?from=1970-01-01T00:00:00Z&to=2999-01-01T00:00:00Z", {"a", "b", "c"}),
        ("?to=2000-01-01T00:00:00Z", set()),
        ("?sort=scheduled_at&limit=2", {"a", "b"}),
        ("?sort=-completed_at&limit=2", {"a", "b"}),
    ],
)
def test_every_parameter_filters(
    client: FlaskClient, storage: Storage, query: str, expected: set[str]
) -> None:
    names = {
        storage.jobs.enqueue(
            NewJob("x", queue_name="q1", schedule_name="nightly")
        ).id: "a"
    }
    run(storage, Done(), queue_name="q1")
    new = NewJob("y", '{"tag":"needle"}', queue_name="q1", dedupe_key="key")
    names[storage.jobs.enqueue(new).id] = "b"
    run(storage, Dead("50% of them"), queue_name="q1")
    answer = client.post(
        f"{PREFIX}/jobs/enqueue",
        json={
            "kind": "x",
            "payload": {},
            "queue_name": "q2",
            "run_at": "2999-01-01T00:00:00Z",
        },
    )
    names[str(answer.json)] = "c"

    document, _ = find(client, query)

    assert {names[row["id"]] for row in document["rows"]} == expected
    if "limit" not in query:
        assert document["total"] == len(expected)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=open", "status"),
        ("queue=", "queue"),
        ("kind=%00", "kind"),
        ("q=x", "q"),
        ("error=x", "error"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("to=1969-01-01T00:00:00Z", "to"),
        ("dedupe_key=", "dedupe_key"),
        ("slot_id=", "slot_id"),
        ("cron=", "cron"),
        ("min_attempts=1001", "min_attempts"),
        ("sort=id", "sort"),
        ("count=all", "count"),
    ],
)
def test_a_bad_parameter_is_400(client: FlaskClient, query: str, field: str) -> None:
    answer = client.get(f"{PREFIX}/v1/jobs?{query}")

    assert answer.status_code == 400
    assert answer.json is not None
    assert (answer.json["kind"], answer.json["field"]) == ("validation", field)


def test_a_limited_caller_finds_its_own_jobs(storage: Storage) -> None:
    own = enqueue(storage, queue_name="own")
    other = enqueue(storage, queue_name="other")
    client = client_with_token(storage, "viewer", ["own"])

    document, _ = find(client)

    assert [row["id"] for row in document["rows"]] == [own]
    assert document["total"] == 1
    assert client.get(f"{PREFIX}/v1/jobs?queue=other").status_code == 403
    assert client.get(f"{PREFIX}/v1/jobs/{own}").status_code == 200
    assert client.get(f"{PREFIX}/v1/jobs/{other}").status_code == 404


@each_backend
def test_sec_S29_a_search_that_takes_too_long_is_503(
    database_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As behind a pooler: the limit is that of the search, not of the opening before.
    monkeypatch.setattr(SessionSettings, "configure", lambda *_: None)
    with contextlib.closing(open_storage(database_settings)) as storage:
        storage.open()
        Sql(database_settings).seed(20_000)
    hurried = replace(database_settings, statement_timeout_s=0.001)
    with contextlib.closing(open_storage(hurried)) as storage:
        storage.open()
        client = mount(storage)
        body = {"filter": {"payload_search": "not there"}, "limit": 5, "offset": 0}
        answers = [
            client.post(f"{PREFIX}/jobs/list", json=body),
            client.get(f"{PREFIX}/v1/jobs?q=not%20there"),
        ]
        again = client.get(f"{PREFIX}/health")

    for answer in answers:
        assert answer.status_code == 503
        assert answer.json is not None
        assert answer.json["kind"] == "unavailable"
        assert answer.headers["Retry-After"] == str(answer.json["retry_after_secs"])
    assert again.status_code == 200


# -- one job -----------------------------------------------------------------------


def test_a_record_tells_all_of_a_finished_job(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = storage.jobs.enqueue(NewJob("k", '{"b":1,"a":[null]}')).id
    job = claim_one(storage)
    storage.jobs.heartbeat(OWNER, {job_id: '{"pct":50}'})
    update = JobUpdate(job, JobStatus.DONE, result='{"sum":3}')
    assert storage.jobs.finish(OWNER, [update]) == []

    record = read(client, job_id)

    assert list(record) == RECORD_KEYS
    assert record["row"]["id"] == job_id
    assert record["payload"] == {"a": [None], "b": 1}
    assert record["error_history"] == []
    assert record["throttle_attempts"] == 0
    assert record["cancel_requested_at"] is None
    assert record["progress"] == {"at": None, "pct": 50, "rate": None}
    assert record["result"] == {"sum": 3}
    assert record["wait_ms"] >= 0
    assert record["run_ms"] >= 0
    assert record["redacted"] is False


def test_a_record_has_the_traceback_of_the_last_error(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = enqueue(storage)
    trace = 'Traceback (most recent call last):\n  login(password="hunter2")'
    run(storage, Failed("KeyError: 'id'", traceback=trace))

    record = read(client, job_id)

    assert record["row"]["last_error"] == "KeyError: 'id'"
    assert record["traceback"] == trace.replace("hunter2", "[redacted]")
    assert list(record["error_history"][0]) == ["at", "attempt", "message"]


def test_a_record_has_the_attempts_of_its_job(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = enqueue(storage)
    trace = 'Traceback (most recent call last):\n  login(password="hunter2")'
    run(storage, Failed("password=hunter2 is wrong", traceback=trace))

    (attempt,) = read(client, job_id)["attempts"]

    due_at, started_at, ended_at = (
        attempt.pop(key) for key in ("due_at", "started_at", "ended_at")
    )
    assert due_at <= started_at <= ended_at
    assert attempt.pop("wait_ms") >= 0
    assert attempt == {
        "run": 1,
        "attempt": 1,
        "run_ms": 0,
        "worker_id": OWNER,
        "worker_name": None,
        "host": None,
        "slot": 0,
        "ending": "failed",
        "error": "password=[redacted] is wrong",
        "traceback": trace.replace("hunter2", "[redacted]"),
        "signature": "password=[redacted] is wrong",
        "steps": [],
    }


def test_the_attempts_of_a_limited_caller_tell_nothing_of_other_queues(
    storage: Storage,
) -> None:
    """A job that another queue ran at first names no queue but its own."""
    mail = client_with_token(storage, "viewer", ["mail"])
    storage.queues.ensure("mail")
    moved, stays = (enqueue(storage, queue_name="bank") for _ in range(2))
    for job_id in (moved, stays):
        slots = [SlotReport(f"bank-3-{OWNER}-0", "bank", job_id)]
        storage.workers.beat(OWNER, None, ["mail", "bank"], slots)
        run(storage, Failed("no"), queue_name="bank")
    storage.job_admin.reschedule(moved, queue_name="mail")

    answer = mail.get(f"{PREFIX}/v1/jobs/{moved}")

    assert [each["ending"] for each in answer.json["attempts"]] == ["failed"]  # type: ignore[index]
    assert "bank" not in answer.text
    assert mail.get(f"{PREFIX}/v1/jobs/{stays}").status_code == 404


def test_a_listing_shows_the_progress_of_a_job_that_runs(
    client: FlaskClient, storage: Storage
) -> None:
    enqueue(storage)
    text = ProgressMeter().stamped('{"done":3}', 1_790_000_000_000_000)
    storage.jobs.heartbeat(OWNER, {claim_one(storage).id: text})

    [row] = find(client)[0]["rows"]

    assert row["progress"] == {
        "at": "2026-09-21T14:13:20Z",
        "done": 3,
        "message": None,
        "rate": None,
        "total": None,
    }


def test_counts_are_those_of_the_listing_by_state(
    client: FlaskClient, storage: Storage
) -> None:
    for kind in ("a", "a", "b"):
        storage.jobs.enqueue(NewJob(kind, delay=60))
    storage.jobs.enqueue(NewJob("a"))
    run(storage, Dead("no"))

    def counts(query: str) -> Any:
        return client.get(f"{PREFIX}/v1/jobs/counts{query}").json

    assert counts("?kind=a") == {
        "pending": 2,
        "scheduled": 2,
        "in_progress": 0,
        "done": 0,
        "failed": 0,
        "dead": 1,
        "total": 3,
    }
    assert counts("?kind=a")["total"] == find(client, "?kind=a")[0]["total"]
    assert counts("?error=no")["dead"] == 1
    assert "limit" in str(counts("?limit=5"))


def test_counts_of_a_limited_caller_are_of_its_queues(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("a", queue_name="mail"))
    storage.jobs.enqueue_many([NewJob("a", queue_name="bank")] * 3)
    client = client_with_token(storage, "viewer", ["mail"])

    whole = client.get(f"{PREFIX}/v1/jobs/counts")
    other = client.get(f"{PREFIX}/v1/jobs/counts?queue=bank")

    assert whole.json is not None
    assert (whole.json["pending"], whole.json["total"]) == (1, 1)
    assert other.status_code == 403


def test_a_record_of_a_waiting_job_has_no_timings(
    client: FlaskClient, storage: Storage
) -> None:
    record = read(client, enqueue(storage))

    assert [record[key] for key in ("progress", "result", "wait_ms", "run_ms")] == [
        None, None, None, None,
    ]  # fmt: skip


def test_a_record_shows_that_a_stop_was_asked_for(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = enqueue(storage)
    claim_one(storage)
    storage.job_admin.delete(job_id)

    record = read(client, job_id)

    assert record["cancel_requested_at"] is not None
    assert record["run_ms"] is None


@pytest.mark.parametrize(
    ("payload", "result"),
    [('{"password":"c4n4ry"}', None), ("{}", '{"token":"c4n4ry"}')],
)
def test_a_record_says_that_revealing_it_shows_more(
    client: FlaskClient, storage: Storage, payload: str, result: str | None
) -> None:
    job_id = storage.jobs.enqueue(NewJob("k", payload)).id
    update = JobUpdate(claim_one(storage), JobStatus.DONE, result=result)
    assert storage.jobs.finish(OWNER, [update]) == []

    answer = client.get(f"{PREFIX}/v1/jobs/{job_id}")

    assert "c4n4ry" not in answer.text
    assert answer.json is not None
    assert answer.json["redacted"] is True


def test_progress_that_is_no_object_becomes_one(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = enqueue(storage)
    claim_one(storage)
    storage.jobs.heartbeat(OWNER, {job_id: "0.5"})

    assert read(client, job_id)["progress"] == {
        "at": None, "rate": None, "value": 0.5,
    }  # fmt: skip


# -- log lines ---------------------------------------------------------------------


def test_lines_are_read_in_pages(client: FlaskClient, storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    lines = [LogLine(0, "INFO", "shop", text) for text in ("a", "b")]
    storage.jobs.heartbeat(OWNER, {}, [LogChunk(job.run_id, 1, 0, lines)])
    path = f"{PREFIX}/v1/jobs/{job_id}/logs"

    first = json.loads(client.get(f"{path}?limit=1").data)
    second = json.loads(client.get(f"{path}?after={first['next']}").data)

    assert [line["message"] for line in first["lines"]] == ["a"]
    assert [line["message"] for line in second["lines"]] == ["b"]
    assert (second["next"], second["is_complete"]) == ("1-1", False)


def test_lines_are_of_the_caller_s_queues_only(storage: Storage) -> None:
    job_id = enqueue(storage, queue_name="secret")
    limited = client_with_token(storage, "viewer", queues=["default"])

    answer = limited.get(f"{PREFIX}/v1/jobs/{job_id}/logs")
    missing = limited.get(f"{PREFIX}/v1/jobs/{'0' * 26}/logs")

    assert (answer.status_code, missing.status_code) == (404, 404)
    assert answer.text == missing.text.replace("0" * 26, job_id)


def test_a_job_is_read_with_the_steps_of_its_attempts(
    client: FlaskClient, storage: Storage
) -> None:
    record = read(client, dead_with_steps(storage))

    ((attempt,), checkpoint) = record["attempts"], record["checkpoint"]
    (step,) = attempt["steps"]
    assert {key: step[key] for key in ("name", "run", "size", "result")} == {
        "name": "fetch", "run": 1, "size": 19,
        "result": {"n": 1, "token": "[redacted]"},
    }  # fmt: skip
    assert attempt["started_at"] <= step["at"] <= checkpoint["at"]
    assert (record["step_count"], checkpoint["value"]) == (1, 7)
