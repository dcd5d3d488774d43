"""H29 to H33: repeated, stale, untimely, big and simultaneous requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.hazards.inputs import fault
from tests.api.mounting import PREFIX, mount
from tests.conformance.seeding import JOB_ID, SCHEDULE
from tests.support.backends import each_backend, sqlite_first
from tests.support.sql import Sql

NO_JOB = "01M8830E3P2NJ154CQZ9HKJHJA"
TOGETHER = 50


def post(
    client: FlaskClient, path: str, document: object, **headers: str
) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"{PREFIX}{path}", json=document, headers=named)


def job(number: int = 1) -> dict[str, Any]:
    return {"kind": "once", "payload": {"number": number}, "queue_name": "mail"}


def once(sql: Sql) -> int:
    ((count,),) = sql.run("SELECT COUNT(*) FROM forge_job WHERE kind = 'once'")
    return int(count)


@each_backend
def test_H30_a_stale_change_is_refused(client: FlaskClient, storage: Storage) -> None:
    tag = client.get(f"{PREFIX}/v1/queues/mail").headers["ETag"]

    def change(workers: int, tag: str) -> int:
        return client.patch(
            f"{PREFIX}/v1/queues/mail",
            json={"max_workers": workers},
            headers={"If-Match": tag},
        ).status_code

    assert change(9, tag) == 200
    assert change(10, tag) == 412
    assert change(10, '"x"') == 412
    assert storage.queues.get("mail").max_workers == 9


@each_backend
def test_H30_a_stale_change_of_a_schedule_is_refused(
    client: FlaskClient, storage: Storage
) -> None:
    secret = {"password": "p1"}
    body = {"name": "own", "kind": "k", "cron_expr": "0 3 * * *", "payload": secret}
    created = post(client, "/v1/cron", body)
    tag = client.get(f"{PREFIX}/v1/cron/own").headers["ETag"]

    def change(tag: str, **changes: object) -> TestResponse:
        return client.patch(
            f"{PREFIX}/v1/cron/own", json=changes, headers={"If-Match": tag}
        )

    assert created.headers["ETag"] == tag
    answer = change(tag, cron_expr="0 4 * * *")
    assert answer.status_code == 200
    assert change(tag, cron_expr="0 5 * * *").status_code == 412
    assert change(tag, enabled=False).status_code == 412
    assert change(tag, enabled=True).status_code == 200  # as it is
    assert storage.cron.get("own").definition.cron_expr == "0 4 * * *"
    # A tag that depends on a secret would let it be guessed.
    other = change(answer.headers["ETag"], payload={"password": "p2"})
    assert other.headers["ETag"] == answer.headers["ETag"]


@each_backend
def test_H31_what_comes_too_late_changes_nothing(
    client: FlaskClient, storage: Storage
) -> None:
    post(client, "/v1/jobs/actions", {"action": "cancel", "ids": [JOB_ID]})
    done = client.get(f"{PREFIX}/v1/jobs?status=done").json["rows"][0]["id"]  # type: ignore[index]
    running = client.get(f"{PREFIX}/v1/jobs?status=in_progress").json["rows"][0]["id"]  # type: ignore[index]

    assert fault(post(client, f"/v1/jobs/{done}/cancel", {}))[:2] == (409, "conflict")
    assert post(client, f"/jobs/run-now/{done}", {}).json is False
    retried = post(client, "/jobs/retry", {"ids": [done, running]})
    assert (retried.json, retried.headers["X-Jobs-Skipped"]) == (0, "2")
    moved = post(client, f"/v1/jobs/{running}/reschedule", {"priority": 1})
    assert fault(moved)[:2] == (409, "conflict")
    deleted = post(client, "/jobs/delete", {"ids": [running]})
    assert deleted.headers["X-Jobs-Cancel-Requested"] == "1"
    assert storage.job_reader.get(done).status is JobStatus.DONE
    assert storage.job_reader.get(running).status is JobStatus.IN_PROGRESS


@sqlite_first
def test_H31_resuming_what_runs_and_stopping_twice_is_fine(client: FlaskClient) -> None:
    for paused in (False, True, True, False):
        answer = post(client, "/queue/mail/paused", {"paused": paused})
        assert answer.status_code == 200
    post(client, f"/cron/{SCHEDULE}/enabled", {"enabled": False})
    # A schedule that rests may still be started by hand.
    assert post(client, f"/cron/{SCHEDULE}/trigger", {}).status_code == 200


@sqlite_first
@pytest.mark.parametrize("path", ["/jobs/retry", "/jobs/requeue", "/jobs/delete"])
def test_H32_ids_are_bounded_and_counted_once(client: FlaskClient, path: str) -> None:
    assert post(client, path, {"ids": []}).json == 0
    many = [f"id-{number}" for number in range(10_001)]
    assert fault(post(client, path, {"ids": many})) == (400, "validation", "ids")
    assert post(client, path, {"ids": [JOB_ID, JOB_ID, NO_JOB]}).json == 1


@sqlite_first
def test_H32_everything_must_be_meant(client: FlaskClient, storage: Storage) -> None:
    for body in ({}, {"filter": None}, {"ids": None}, {"filter": {"lmit": 1}}):
        answer = post(client, "/v1/jobs/actions", {"action": "delete", **body})
        assert fault(answer)[:2] == (400, "validation"), body
    dry = post(
        client, "/v1/jobs/actions",
        {"action": "delete", "filter": {"queues": ["mail"]}, "dry_run": True},
    )  # fmt: skip
    assert dry.status_code == 200
    assert storage.job_reader.get(JOB_ID).id == JOB_ID


@each_backend
def test_sec_S23_H32_another_number_than_expected_changes_nothing(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    for number in range(30):
        storage.jobs.enqueue(NewJob("once", queue_name="default", priority=number))
    body = {"action": "delete", "filter": {"kinds": ["once"]}, "expected": 5}

    answer = post(client, "/v1/jobs/actions", body)

    assert fault(answer)[:2] == (409, "conflict")
    assert once(sql) == 30


@each_backend
@pytest.mark.parametrize(
    "headers", [{}, {"Idempotency-Key": "together"}], ids=["dedupe key", "header"]
)
def test_H33_many_at_once_have_one_effect(
    storage: Storage, sql: Sql, headers: dict[str, str]
) -> None:
    app = mount(storage).application
    body = job() if headers else job() | {"dedupe_key": "together"}

    def send(_number: int) -> tuple[int, object]:
        answer = app.test_client().post(
            f"{PREFIX}/jobs/enqueue", json=body, headers=headers
        )
        return answer.status_code, answer.json

    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = list(pool.map(send, range(TOGETHER)))

    assert once(sql) == 1
    ids = {found for status, found in answers if status == 200}
    assert len(ids) == 1
    # A database that is busy may say so; nobody gets another id.
    assert {status for status, _found in answers} <= {200, 409}


@each_backend
def test_H33_a_job_is_taken_by_one(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("once", queue_name="default"))

    with ThreadPoolExecutor(max_workers=8) as pool:
        taken = list(
            pool.map(lambda n: storage.jobs.claim("default", f"owner-{n}"), range(8))
        )

    assert sum(len(jobs) for jobs in taken) == 1
