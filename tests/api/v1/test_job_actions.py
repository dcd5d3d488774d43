from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.jobs import (
    OWNER,
    QUEUE,
    claim_one,
    dead_with_steps,
    enqueue,
    job_with,
    run,
)

JOBS = f"{PREFIX}/v1/jobs"
FINISHED = (JobStatus.DONE, JobStatus.DEAD)
WAITING = (JobStatus.PENDING, JobStatus.FAILED)
LATER = "2999-01-01T00:00:00Z"


def kind_of(answer: TestResponse) -> str:
    assert answer.json is not None, answer.text
    kind: str = answer.json["kind"]
    return kind


# -- delete ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [*WAITING, *FINISHED])
def test_delete_removes_a_job(
    client: FlaskClient, storage: Storage, status: JobStatus
) -> None:
    job_id = job_with(storage, status)

    answer = client.delete(f"{JOBS}/{job_id}")

    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    with pytest.raises(JobNotFoundError):
        storage.job_reader.get(job_id)
    assert client.delete(f"{JOBS}/{job_id}").status_code == 404


def test_delete_asks_a_running_job_to_stop(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = job_with(storage, JobStatus.IN_PROGRESS)

    for _ in range(2):
        answer = client.delete(f"{JOBS}/{job_id}")
        assert answer.status_code == 202
        assert answer.data == b'{"outcome":"cancel_requested"}'

    assert storage.jobs.cancelled(OWNER) == [job_id]


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("POST", "/reschedule")],
)
def test_an_unknown_id_is_404(client: FlaskClient, method: str, path: str) -> None:
    body: object = {} if method == "POST" else None

    answer = client.open(f"{JOBS}/none{path}", method=method, json=body)

    assert answer.status_code == 404
    assert kind_of(answer) == "not_found"


# -- cancel ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", WAITING)
def test_cancel_ends_a_waiting_job(
    client: FlaskClient, storage: Storage, status: JobStatus
) -> None:
    job_id = job_with(storage, status)

    answer = client.post(f"{JOBS}/{job_id}/cancel", json={"reason": "ordered twice"})

    assert answer.status_code == 200
    assert answer.data == f'{{"id":"{job_id}","outcome":"cancelled"}}'.encode()
    job = storage.job_reader.get(job_id)
    assert job.status is JobStatus.DEAD
    assert job.last_error == "cancelled by user: ordered twice"


@pytest.mark.parametrize("body", [None, {}, {"reason": None}, {"reason": ""}])
def test_cancel_needs_no_reason(
    client: FlaskClient, storage: Storage, body: object
) -> None:
    job_id = enqueue(storage)

    answer = client.post(f"{JOBS}/{job_id}/cancel", json=body)

    assert answer.status_code == 200
    assert storage.job_reader.get(job_id).last_error == "cancelled by user"


def test_cancel_asks_a_running_job_to_stop(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = job_with(storage, JobStatus.IN_PROGRESS)

    answer = client.post(f"{JOBS}/{job_id}/cancel", json={"reason": "x"})

    assert answer.status_code == 202
    assert json.loads(answer.data) == {"id": job_id, "outcome": "cancel_requested"}
    assert storage.jobs.cancelled(OWNER) == [job_id]


@pytest.mark.parametrize("status", FINISHED)
def test_cancel_of_a_finished_job_is_409(
    client: FlaskClient, storage: Storage, status: JobStatus
) -> None:
    before = storage.job_reader.get(job_with(storage, status))

    answer = client.post(f"{JOBS}/{before.id}/cancel")

    assert answer.status_code == 409
    assert kind_of(answer) == "conflict"
    assert storage.job_reader.get(before.id) == before


@pytest.mark.parametrize(("body", "field"), [({"reason": "x" * 1001}, "reason")])
def test_cancel_with_a_bad_reason_is_400(
    client: FlaskClient, storage: Storage, body: object, field: str
) -> None:
    job_id = enqueue(storage)

    answer = client.post(f"{JOBS}/{job_id}/cancel", json=body)

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == field
    assert storage.job_reader.get(job_id).status is JobStatus.PENDING


# -- reschedule ------------------------------------------------------------------------


# -- retry -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.DEAD])
def test_retry_gives_a_job_all_its_attempts_again(
    client: FlaskClient, storage: Storage, status: JobStatus
) -> None:
    job_id = job_with(storage, status)

    answer = client.post(f"{JOBS}/{job_id}/retry")

    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["id"], answer.json["status"]) == (job_id, "pending")
    assert answer.json["attempts"] == 0
    assert claim_one(storage).id == job_id


@pytest.mark.parametrize(
    "status", [JobStatus.PENDING, JobStatus.IN_PROGRESS, JobStatus.DONE]
)
def test_retry_of_a_job_that_has_not_failed_is_409(
    client: FlaskClient, storage: Storage, status: JobStatus
) -> None:
    job_id = job_with(storage, status)

    answer = client.post(f"{JOBS}/{job_id}/retry")

    assert (answer.status_code, kind_of(answer)) == (409, "conflict")
    assert answer.json is not None
    assert answer.json["msg"] == f"job {job_id} is {status}"


def test_retry_of_a_job_whose_key_is_held_is_409(
    client: FlaskClient, storage: Storage
) -> None:
    keyed = NewJob("noop", queue_name=QUEUE, dedupe_key="once")
    job_id = storage.jobs.enqueue(keyed).id
    storage.job_admin.cancel(job_id)
    storage.jobs.enqueue(keyed)

    answer = client.post(f"{JOBS}/{job_id}/retry")

    assert (answer.status_code, kind_of(answer)) == (409, "conflict")
    assert storage.job_reader.get(job_id).status is JobStatus.DEAD


@pytest.mark.parametrize("status", WAITING)
def test_reschedule_answers_the_changed_row(
    client: FlaskClient, storage: Storage, status: JobStatus
) -> None:
    storage.queues.ensure("other")
    job_id = job_with(storage, status)
    body = {"run_at": LATER, "priority": -7, "queue_name": "other"}

    answer = client.post(f"{JOBS}/{job_id}/reschedule", json=body)

    row = json.loads(answer.data)
    assert answer.status_code == 200
    assert (row["id"], row["status"], row["scheduled_at"]) == (job_id, status, LATER)
    assert (row["priority"], row["queue_name"]) == (-7, "other")
    assert storage.jobs.claim("other", OWNER) == []


def test_reschedule_to_the_past_makes_a_job_due(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = enqueue(storage)
    client.post(f"{JOBS}/{job_id}/reschedule", json={"run_at": LATER})
    assert storage.jobs.claim(QUEUE, OWNER) == []

    answer = client.post(
        f"{JOBS}/{job_id}/reschedule", json={"run_at": "1970-01-01T00:00:00Z"}
    )

    assert answer.status_code == 200
    assert claim_one(storage).id == job_id


@pytest.mark.parametrize(
    "body", [{}, {"run_at": None, "priority": None, "queue_name": None}]
)
def test_reschedule_of_nothing_changes_nothing(
    client: FlaskClient, storage: Storage, body: object
) -> None:
    before = storage.job_reader.get(enqueue(storage))

    answer = client.post(f"{JOBS}/{before.id}/reschedule", json=body)

    assert json.loads(answer.data)["scheduled_at"] == format_instant(
        before.scheduled_at
    )
    assert storage.job_reader.get(before.id) == before


def test_reschedule_masks_secrets(client: FlaskClient, storage: Storage) -> None:
    job_id = enqueue(storage)
    run(storage, Failed("login with password=c4n4ry failed"))

    answer = client.post(f"{JOBS}/{job_id}/reschedule", json={"priority": 1})

    assert answer.status_code == 200
    assert "c4n4ry" not in answer.text


@pytest.mark.parametrize("status", [JobStatus.IN_PROGRESS, *FINISHED])
def test_reschedule_of_a_running_or_finished_job_is_409(
    client: FlaskClient, storage: Storage, status: JobStatus
) -> None:
    before = storage.job_reader.get(job_with(storage, status))

    answer = client.post(f"{JOBS}/{before.id}/reschedule", json={"priority": 1})

    assert answer.status_code == 409
    assert kind_of(answer) == "conflict"
    assert storage.job_reader.get(before.id) == before


def test_reschedule_into_an_unknown_queue_is_404(
    client: FlaskClient, storage: Storage
) -> None:
    before = storage.job_reader.get(enqueue(storage))

    answer = client.post(
        f"{JOBS}/{before.id}/reschedule", json={"queue_name": "nowhere"}
    )

    assert answer.status_code == 404
    assert storage.job_reader.get(before.id) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"run_at": "1969-12-31T23:59:59Z"}, "run_at"),
        ({"queue_name": "a/b"}, "queue_name"),
    ],
)
def test_reschedule_out_of_bounds_is_400(
    client: FlaskClient, storage: Storage, body: object, field: str
) -> None:
    before = storage.job_reader.get(enqueue(storage))

    answer = client.post(f"{JOBS}/{before.id}/reschedule", json=body)

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == field
    assert storage.job_reader.get(before.id) == before


# -- credentials that are limited to some queues -------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("POST", "/reschedule")],
)
def test_a_job_elsewhere_answers_like_a_job_nowhere(
    storage: Storage, method: str, path: str
) -> None:
    other = enqueue(storage, queue_name="other")
    before = storage.job_reader.get(other)
    scoped = client_with_token(storage, "operator", ["mail"])
    body: object = {} if method == "POST" else None

    answers = [
        scoped.open(f"{JOBS}/{job_id}{path}", method=method, json=body)
        for job_id in (other, "none")
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert storage.job_reader.get(other) == before


def test_a_job_cannot_be_moved_into_another_queue(storage: Storage) -> None:
    storage.queues.ensure("other")
    job_id = enqueue(storage, queue_name="mail")
    scoped = client_with_token(storage, "operator", ["mail"])

    answer = scoped.post(f"{JOBS}/{job_id}/reschedule", json={"queue_name": "other"})

    assert answer.status_code == 403
    assert storage.job_reader.get(job_id).queue_name == "mail"


@pytest.mark.parametrize(("query", "left"), [("", 1), ("?restart=1", 0)])
def test_a_retry_may_begin_with_the_first_step(
    client: FlaskClient, storage: Storage, query: str, left: int
) -> None:
    job_id = dead_with_steps(storage)

    answer = client.post(f"{JOBS}/{job_id}/retry{query}")

    assert answer.status_code == 200, answer.text
    assert len(storage.steps.kept(job_id).results) == left


def test_a_job_that_waits_for_another_is_released(
    client: FlaskClient, storage: Storage
) -> None:
    parent = enqueue(storage)
    waiting = storage.jobs.enqueue(NewJob("noop", after=[parent])).id

    answer = client.post(f"{JOBS}/{waiting}/release")
    again = client.post(f"{JOBS}/{waiting}/release")

    assert (answer.status_code, again.status_code) == (200, 409)
    assert storage.job_reader.get(waiting).start_at is None
    assert {job.id for job in storage.jobs.claim(QUEUE, OWNER, 5)} == {parent, waiting}


@pytest.mark.parametrize(("query", "waits"), [("", False), ("?dependents=1", True)])
def test_a_retry_may_bring_its_dependents_back(
    client: FlaskClient, storage: Storage, query: str, *, waits: bool
) -> None:
    parent = enqueue(storage)
    child = storage.jobs.enqueue(NewJob("noop", after=[parent])).id
    storage.job_admin.cancel(parent)
    assert storage.job_reader.get(child).status is JobStatus.DEAD

    assert client.post(f"{JOBS}/{parent}/retry{query}").status_code == 200

    assert storage.job_reader.get(child).is_waiting is waits


def test_dependents_in_any_queue_need_a_caller_of_all_queues(storage: Storage) -> None:
    limited = client_with_token(storage, "operator", [QUEUE])
    job_id = job_with(storage, JobStatus.DEAD)

    refused = limited.post(f"{JOBS}/{job_id}/retry?dependents=1")

    assert refused.status_code == 403
    assert storage.job_reader.get(job_id).status is JobStatus.DEAD
    assert limited.post(f"{JOBS}/{job_id}/retry").status_code == 200
