from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Dead, Done
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.registry import TaskRegistry
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.jobs import run
from tests.support.sql import Sql

URL = f"{PREFIX}/v1/batches"
JOB: dict[str, Any] = {"kind": "part", "payload": {}}
HEADERS = {"X-Forge-Jobs": "1"}
NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def create(client: FlaskClient, *jobs: dict[str, Any], **body: Any) -> TestResponse:
    return client.post(URL, json={"name": "report", "jobs": list(jobs), **body})


def made(client: FlaskClient, *jobs: dict[str, Any], **body: Any) -> str:
    answer = create(client, *jobs, **body)
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])  # type: ignore[index]


def fault(answer: TestResponse) -> tuple[int, str, str]:
    body = answer.json
    assert body is not None, answer.text
    return answer.status_code, body.get("field", ""), body["msg"]


# -- making and reading ------------------------------------------------------------


def test_a_batch_is_made_with_its_jobs(client: FlaskClient, storage: Storage) -> None:
    answer = create(
        client, JOB, JOB, JOB | {"after": [0, 1], "on_parent_dead": "run"},
        data={"token": "s", "year": 7}, cancel_on_dead=True,
        on_success={"kind": "send", "queue": "mail", "parameter": "batch"},
    )  # fmt: skip

    created = answer.json
    assert created is not None
    assert answer.headers["Location"] == f"{URL}/{created['id']}"
    assert [each["status"] for each in created["results"]] == ["pending"] * 3
    found = client.get(answer.headers["Location"]).json
    assert found is not None
    assert found["data"] == {"token": "[redacted]", "year": 7}
    assert {key: found[key] for key in ("state", "total", "waiting", "progress")} == {
        "state": "running", "total": 3, "waiting": 3, "progress": 0.0,
    }  # fmt: skip
    assert (found["redacted"], found["sealed"], found["cancel_on_dead"]) == (True,) * 3
    at_end = {"kind": "send", "queue_name": "mail", "job_id": None}
    assert (found["on_success"], found["on_dead"]) == (at_end, None)
    for outcome in (Done(), Dead("no"), Done()):
        run(storage, outcome)
    storage.batches.tend()
    ended = client.get(answer.headers["Location"]).json
    assert ended is not None
    assert (ended["state"], ended["done"], ended["dead"]) == ("dead", 2, 1)
    assert ended["progress"] == 1.0


def test_the_job_at_an_event_is_that_of_its_task(storage: Storage) -> None:
    registry = TaskRegistry()
    client = mount(storage, options=BlueprintOptions(registry=registry))

    class Custom:
        kind = "send"
        timeout_s = None
        concurrency = None

        def run(self, context: TaskContext, payload: str) -> Done:
            del context, payload
            return Done()

    registry.add(Custom())
    batch_id = made(client, on_finished={"kind": "send"}, sealed=True)
    storage.batches.tend()

    found = client.get(f"{URL}/{batch_id}").json
    assert found is not None
    job_id = found["on_finished"]["job_id"]
    assert storage.job_reader.get(job_id).payload.startswith('{"ended":{"id":')


def test_lists_have_no_data(client: FlaskClient, storage: Storage) -> None:
    ended, other = made(client, data={"x": 1}), made(client, JOB)
    storage.batches.tend()

    first = client.get(URL, query_string={"limit": 1})
    rest = client.get(first.headers["Link"].split(">")[0].removeprefix("<"))
    unfinished = client.get(URL, query_string={"open": "1"})

    assert [row["id"] for row in _rows(first)] == [other]
    assert [row["id"] for row in _rows(rest)] == [ended]
    assert [row["id"] for row in _rows(unfinished)] == [other]
    assert "data" not in _rows(rest)[0]


def _rows(answer: TestResponse) -> list[dict[str, Any]]:
    assert answer.json is not None, answer.text
    return list(answer.json["rows"])


def test_the_jobs_of_a_batch_are_listed_by_state(
    client: FlaskClient, storage: Storage
) -> None:
    batch_id = made(client, JOB, JOB, JOB)
    run(storage, Dead("no"))
    path = f"{URL}/{batch_id}/jobs"

    first = client.get(path, query_string={"limit": 2})
    rest = client.get(first.headers["Link"].split(">")[0].removeprefix("<"))
    dead = client.get(path, query_string={"status": "dead"})

    assert (len(_rows(first)), len(_rows(rest))) == (2, 1)
    assert [row["ending"] for row in _rows(dead)] == ["dead"]
    refused = client.get(path, query_string={"status": "waiting"})
    assert fault(refused)[:2] == (400, "status")


def test_jobs_are_found_by_their_batch(client: FlaskClient) -> None:
    batch_id = made(client, JOB, JOB | {"after": [0]})
    made(client, JOB)
    jobs = f"{PREFIX}/v1/jobs"

    assert len(_rows(client.get(f"{jobs}?batch={batch_id}"))) == 2
    assert len(_rows(client.get(f"{jobs}?batch={batch_id}&waiting=1"))) == 1
    assert client.get(f"{jobs}/counts?waiting=1").json["total"] == 1  # type: ignore[index]
    assert fault(client.get(f"{jobs}?batch=x"))[:2] == (400, "batch")
    (child,) = _rows(client.get(f"{jobs}?waiting=1"))
    record = client.get(f"{jobs}/{child['id']}").json
    assert record is not None
    assert (record["batch_id"], record["waiting_for"]) == (batch_id, 1)
    assert [each["status"] for each in record["parents"]] == ["pending"]
    parent = client.get(f"{jobs}/{record['parents'][0]['id']}").json
    assert parent is not None
    assert parent["dependents"] == [
        {
            "id": child["id"], "kind": "part", "queue_name": "default",
            "status": "pending", "is_waiting": True, "on_parent_dead": "cancel",
        }
    ]  # fmt: skip


def test_secrets_are_revealed_to_whoever_may(storage: Storage) -> None:
    client = client_with_token(storage, "admin")
    batch_id = made(client, data={"token": "s"})

    shown = client.get(f"{URL}/{batch_id}?reveal=1")
    operator = client_with_token(storage, "operator")

    assert shown.json is not None
    assert (shown.json["data"], shown.json["redacted"]) == ({"token": "s"}, False)
    assert operator.get(f"{URL}/{batch_id}?reveal=1").status_code == 403
    assert storage.audit.page(AuditFilter(), 1)[0].record.action == "batch"


# -- changes -----------------------------------------------------------------------


def test_jobs_are_added_until_the_batch_has_ended(
    client: FlaskClient, storage: Storage
) -> None:
    batch_id = made(client, sealed=False)
    path = f"{URL}/{batch_id}"

    added = client.post(f"{path}/jobs", json={"jobs": [JOB, JOB | {"after": [0]}]})
    assert (added.status_code, added.json["enqueued"]) == (201, 2)  # type: ignore[index]
    sealed = [client.post(f"{path}/seal", headers=HEADERS) for _ in range(2)]
    assert [(each.status_code, each.json["sealed"]) for each in sealed] == [  # type: ignore[index]
        (200, True)
    ] * 2
    assert fault(client.delete(path, headers=HEADERS))[0] == 409
    cancelled = client.post(f"{path}/cancel", headers=HEADERS)
    assert (cancelled.status_code, cancelled.json["dead"]) == (200, 2)  # type: ignore[index]
    again = client.post(f"{path}/cancel", headers=HEADERS)
    assert fault(again) == (409, "", f"batch '{batch_id}' has ended")
    refused = client.post(f"{path}/jobs", json={"jobs": [JOB]})
    assert fault(refused)[0] == 409
    assert client.delete(path, headers=HEADERS).status_code == 204
    assert client.get(path).status_code == 404
    assert storage.batches.page(1) == []


def test_an_open_batch_is_not_deleted(client: FlaskClient) -> None:
    batch_id = made(client, sealed=False)

    assert client.delete(f"{URL}/{batch_id}", headers=HEADERS).status_code == 409


def test_a_retry_runs_what_is_dead(client: FlaskClient, storage: Storage) -> None:
    batch_id = made(client, JOB, JOB | {"after": [0]})
    run(storage, Dead("no"))
    storage.batches.tend()

    answer = client.post(f"{URL}/{batch_id}/retry", headers=HEADERS)

    assert answer.json is not None
    assert answer.json["changed"] == 1
    assert (answer.json["batch"]["dead"], answer.json["batch"]["state"]) == (
        0, "running",
    )  # fmt: skip


def test_changes_leave_one_entry_with_what_they_changed(
    client: FlaskClient, storage: Storage
) -> None:
    batch_id = made(client, JOB, JOB, data={"token": "s"})
    client.post(f"{URL}/{batch_id}/cancel", headers=HEADERS)
    client.delete(f"{URL}/{batch_id}", headers=HEADERS)

    records = [each.record for each in storage.audit.page(AuditFilter(), 9)][::-1]
    assert [(each.action, each.target, each.changed) for each in records] == [
        ("batch_create", batch_id, 1),
        # The batch itself, then its jobs.
        ("batch_cancel", batch_id, 1),
        ("batch_cancel", batch_id, 2),
        ("batch_delete", batch_id, 2),
        ("batch_delete", batch_id, 1),
    ]
    assert "[redacted]" in records[0].arguments


# -- refusals ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"name": "a\0"}, "json"),
        ({"data": "x" * 65_536}, "data"),
        ({"jobs": [JOB] * 1001}, "jobs"),
        ({"jobs": [JOB, {"kind": "", "payload": {}}]}, "jobs[1].kind"),
        ({"jobs": [JOB, JOB | {"after": [1]}]}, "jobs[1].after"),
        ({"jobs": [JOB | {"after": [0] * 101}]}, "jobs[0].after"),
        ({"jobs": [JOB | {"on_parent_dead": "wait"}]}, "jobs[0].on_parent_dead"),
        ({"on_dead": {}}, "on_dead.kind"),
        ({"on_dead": {"kind": "k", "priority": 2**31}}, "on_dead.priority"),
        ({"within": "x"}, "within"),
    ],
)
def test_a_refusal_names_the_field(
    client: FlaskClient, sql: Sql, body: dict[str, Any], field: str
) -> None:
    answer = client.post(URL, json={"name": "report", **body})

    assert fault(answer)[:2] == (400, field)
    assert sql.value("SELECT COUNT(*) FROM forge_batch") == 0
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 0


def test_what_does_not_exist_is_not_found(client: FlaskClient) -> None:
    assert create(client, within=NOBODY).status_code == 404
    assert create(client, JOB | {"after": [NOBODY]}).status_code == 404
    for path, method in (
        ("", "GET"), ("/jobs", "GET"), ("", "DELETE"), ("/seal", "POST"),
        ("/cancel", "POST"), ("/retry", "POST"),
    ):  # fmt: skip
        for batch_id in (NOBODY, "%00", "x" * 300, "é"):
            answer = client.open(
                f"{URL}/{batch_id}{path}", method=method, headers=HEADERS
            )
            assert fault(answer)[0] == 404


def test_no_more_than_a_thousand_jobs_wait_for_one(
    client: FlaskClient, storage: Storage
) -> None:
    parent = storage.jobs.enqueue(NewJob("part")).id
    waiting = JOB | {"after": [parent]}
    assert create(client, *[waiting] * 1000).status_code == 201

    status, field, message = fault(client.post(f"{PREFIX}/v1/jobs", json=waiting))

    assert (status, field) == (400, "after")
    assert message.startswith(f"1001 jobs would wait for {parent}, more than 1000")


def test_the_kinds_of_requests_are_bounded(storage: Storage) -> None:
    client = mount(storage, options=BlueprintOptions(max_kinds=1))

    assert create(client, JOB).status_code == 201
    answer = create(client, JOB, on_dead={"kind": "other"})

    assert fault(answer)[:2] == (400, "on_dead.kind")


# -- repeated requests -------------------------------------------------------------


def test_a_repeated_request_is_done_once(client: FlaskClient, sql: Sql) -> None:
    body = {"name": "report", "jobs": [JOB, JOB | {"after": [0]}]}
    key = {"Idempotency-Key": "1"}
    first, again = (client.post(URL, json=body, headers=key) for _ in range(2))

    assert (first.json, first.status_code) == (again.json, again.status_code)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    changed = client.post(URL, json=body | {"name": "other"}, headers=key)
    assert changed.status_code == 409
    assert sql.value("SELECT COUNT(*) FROM forge_batch") == 1


def test_jobs_are_added_once(client: FlaskClient, storage: Storage) -> None:
    paths = [f"{URL}/{made(client, sealed=False)}/jobs" for _ in range(2)]
    key = {"Idempotency-Key": "1"}
    first, again, other = (
        client.post(path, json={"jobs": [JOB]}, headers=key)
        for path in (paths[0], *paths)
    )

    assert (first.json, again.headers["Idempotency-Replayed"]) == (again.json, "true")
    assert other.status_code == 409
    assert sum(each.total for each in storage.batches.page(2)) == 1


# -- callers that are limited to some queues ---------------------------------------


@pytest.fixture
def limited(storage: Storage) -> FlaskClient:
    """A client that knows the queue ``mail`` only."""
    return client_with_token(storage, "operator", ["mail"])


MAIL = JOB | {"queue_name": "mail"}


def test_a_limited_caller_makes_batches_of_its_own_queue(
    limited: FlaskClient, client: FlaskClient
) -> None:
    own = made(limited, MAIL, on_success={"kind": "send", "queue_name": "mail"})
    empty = made(limited, sealed=False)
    foreign = made(client, MAIL, JOB)

    assert [row["id"] for row in _rows(limited.get(URL))] == [empty, own]
    assert limited.get(f"{URL}/{foreign}").status_code == 404
    assert limited.post(f"{URL}/{foreign}/cancel").status_code == 404
    added = limited.post(f"{URL}/{empty}/jobs", json={"jobs": [MAIL]})
    assert added.status_code == 201
    for body in (
        {"jobs": [JOB]},
        {"jobs": [JOB | {"queue_name": "bank"}]},
        {"on_dead": {"kind": "k"}},
    ):
        assert create(limited, **body).status_code == 403


def test_a_limited_caller_waits_for_nothing_elsewhere(
    limited: FlaskClient, client: FlaskClient, storage: Storage
) -> None:
    own = storage.jobs.enqueue(NewJob("k", queue_name="mail")).id
    other = storage.jobs.enqueue(NewJob("k", queue_name="bank")).id
    batch, mine = made(client, MAIL, JOB), made(client, MAIL)

    for parent, status in ((own, 201), (mine, 201), (other, 404), (batch, 404)):
        waiting = MAIL | {"after": [parent]}
        url = f"{PREFIX}/v1/jobs"
        assert limited.post(url, json=waiting).status_code == status
        bulk = limited.post(f"{url}/bulk", json={"items": [waiting]})
        assert bulk.status_code == status
        assert create(limited, waiting).status_code == status
    assert create(limited, MAIL, within=batch).status_code == 404
    assert create(limited, MAIL, within=mine).status_code == 201
