from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token

ROW_KEYS = [
    "id", "queue_name", "kind", "status", "priority", "attempts", "max_attempts",
    "enqueued_at", "scheduled_at", "started_at", "completed_at", "last_error",
    "process_id", "dedupe_key", "heartbeat_at",
]  # fmt: skip


def _post(client: FlaskClient, path: str, body: object) -> TestResponse:
    return client.post(f"{PREFIX}/jobs/{path}", json=body)


def _enqueue(client: FlaskClient, **body: object) -> str:
    answer = _post(client, "enqueue", {"kind": "k", "payload": {}, **body})
    assert answer.status_code == 200, answer.text
    return str(answer.json)


def _list(client: FlaskClient, **body: Any) -> dict[str, Any]:
    answer = _post(client, "list", {"limit": 50, "offset": 0, **body})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = json.loads(answer.data)
    return document


def _claim(storage: Storage, queue_name: str = "default") -> ClaimedJob:
    [job] = storage.jobs.claim(queue_name, "H")
    return job


def _end(storage: Storage, job: ClaimedJob, status: JobStatus, error: str) -> None:
    delay_s = 3600.0 if status is JobStatus.FAILED else None
    update = JobUpdate(job, status, delay_s=delay_s, error=error)
    assert storage.jobs.finish("H", [update]) == []


def _assert_refused(answer: TestResponse, field: str) -> None:
    assert answer.json is not None, answer.text
    assert answer.status_code == 400
    assert (answer.json["kind"], answer.json["field"]) == ("validation", field)


def test_enqueue_answers_the_bare_id(client: FlaskClient, storage: Storage) -> None:
    answer = client.post(
        f"{PREFIX}/jobs/enqueue",
        data=b'{"kind":"send_receipt","payload":{"order_id":4711},'
        b'"queue_name":"mail","dedupe_key":"receipt:4711"}',
        content_type="application/json",
    )

    job_id = json.loads(answer.data)
    assert answer.data == f'"{job_id}"'.encode()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Job-Deduped"] == "false"
    assert answer.headers["X-Queue-Created"] == "true"
    job = storage.job_reader.get(job_id)
    assert (job.kind, job.queue_name, job.dedupe_key) == (
        "send_receipt",
        "mail",
        "receipt:4711",
    )
    assert json.loads(job.payload) == {"order_id": 4711}


def test_enqueue_again_under_one_key_says_so(client: FlaskClient) -> None:
    body = {"kind": "k", "payload": {}, "dedupe_key": "x"}

    first = _post(client, "enqueue", body)
    second = _post(client, "enqueue", body)

    assert second.json == first.json
    assert second.headers["X-Job-Deduped"] == "true"
    assert "X-Queue-Created" not in second.headers


def test_enqueue_under_a_key_of_another_kind_is_409(client: FlaskClient) -> None:
    _enqueue(client, dedupe_key="x")

    answer = _post(
        client, "enqueue", {"kind": "other", "payload": {}, "dedupe_key": "x"}
    )

    assert answer.status_code == 409
    assert answer.json is not None
    assert list(answer.json) == ["kind", "msg"]
    assert answer.json["kind"] == "conflict"


@pytest.mark.parametrize("body", [{}, {"queue_name": None}])
def test_enqueue_without_a_queue_asks_the_router(
    storage: Storage, body: dict[str, object]
) -> None:
    options = BlueprintOptions(router=lambda kind: f"for-{kind}")

    job_id = _enqueue(mount(storage, options), **body)

    assert storage.job_reader.get(job_id).queue_name == "for-k"


def test_enqueue_takes_every_option(client: FlaskClient, storage: Storage) -> None:
    job_id = _enqueue(
        client,
        payload=[None, 1.5, "é"],
        run_at="2999-01-01T01:00:00.5+01:00",
        priority=-(2**31),
        max_attempts=1000,
    )

    job = storage.job_reader.get(job_id)
    assert json.loads(job.payload) == [None, 1.5, "é"]
    assert (job.priority, job.max_attempts) == (-(2**31), 1000)
    assert job.scheduled_at.isoformat() == "2999-01-01T00:00:00.500000+00:00"


def test_enqueue_takes_nulls_as_absent(client: FlaskClient, storage: Storage) -> None:
    nothing = dict.fromkeys(
        ["payload", "queue_name", "dedupe_key", "run_at", "priority", "max_attempts"]
    )

    job = storage.job_reader.get(_enqueue(client, **nothing))

    assert (job.payload, job.queue_name, job.priority) == ("null", "default", 0)
    assert (job.max_attempts, job.dedupe_key) == (5, None)


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("kind", " "),
        ("kind", "x" * 129),
        ("kind", "a\nb"),
        ("dedupe_key", "x" * 256),
        ("run_at", "1969-01-01T00:00:00Z"),
        ("payload", "x" * 1_048_577),
    ],
)
def test_enqueue_out_of_bounds_is_400_and_stores_nothing(
    client: FlaskClient, storage: Storage, key: str, bad: object
) -> None:
    answer = _post(client, "enqueue", {"kind": "k", "payload": {}, key: bad})

    _assert_refused(answer, key)
    assert storage.job_reader.statistics() == {}
    assert storage.queues.all() == []


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        ({}, {}),
        ({"payload": None}, {}),
        ({"payload": {"sleep_ms": 250}}, {"sleep_ms": 250}),
    ],
)
def test_enqueue_demo_adds_one_job(
    client: FlaskClient, storage: Storage, body: object, payload: object
) -> None:
    answer = _post(client, "enqueue-demo", body)

    job = storage.job_reader.get(str(answer.json))
    assert (job.kind, job.queue_name) == ("noop_echo", "default")
    assert json.loads(job.payload) == payload


def test_inspect_shows_row_payload_and_history(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = _enqueue(client, payload={"b": 1, "a": {"d": "é", "c": 2.0}})
    _end(storage, _claim(storage), JobStatus.FAILED, "smtp timeout")

    answer = client.get(f"{PREFIX}/jobs/inspect/{job_id}")

    document = json.loads(answer.data)
    assert list(document) == ["row", "payload", "error_history"]
    assert list(document["row"]) == ROW_KEYS
    assert document["row"]["status"] == "failed"
    assert document["row"]["last_error"] == "smtp timeout"
    assert '"payload":{"a":{"c":2.0,"d":"é"},"b":1}' in answer.text
    [entry] = document["error_history"]
    assert list(entry) == ["at", "attempt", "message"]
    assert (entry["attempt"], entry["message"]) == (1, "smtp timeout")


def test_inspect_masks_secrets_in_payload_and_errors(
    client: FlaskClient, storage: Storage
) -> None:
    canary = "c4n4ry"
    job_id = _enqueue(
        client,
        payload={"user": {"Password": canary, "apiKey": [canary], "name": "Ada"}},
    )
    error = f"login with password={canary} at postgresql://ada:{canary}@db failed"
    _end(storage, _claim(storage), JobStatus.DEAD, error)

    inspected = client.get(f"{PREFIX}/jobs/inspect/{job_id}").text
    listed = _post(client, "list", {"limit": 1, "offset": 0}).text

    assert canary not in inspected + listed
    assert '"name":"Ada"' in inspected
    assert '"apiKey":"[redacted]"' in inspected


@pytest.mark.parametrize(
    ("options", "password"),
    [
        (BlueprintOptions(redact_keys=("iban*",)), "[redacted]"),
        (BlueprintOptions(redact_keys=("iban*",), redact_default_keys=()), "y"),
    ],
)
def test_configured_keys_are_masked_besides_those_that_are_known(
    storage: Storage, options: BlueprintOptions, password: str
) -> None:
    client = mount(storage, options)
    job_id = _enqueue(client, payload={"iban_de": "x", "password": "y"})

    document = client.get(f"{PREFIX}/jobs/inspect/{job_id}").json

    assert document is not None
    assert document["payload"] == {"iban_de": "[redacted]", "password": password}


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_sec_S37_nobody_searches_in_what_it_may_not_see(
    storage: Storage, role: str
) -> None:
    """A search that finds the job would tell of its password letter by letter."""
    payload = '{"password":"hunter2"}'
    storage.jobs.enqueue(NewJob("k", payload))
    client = client_with_token(storage, role)
    wanted = {"payload_search": "hunter"}
    act = {"action": "retry", "filter": wanted, "dry_run": True}
    page = {"limit": 9, "offset": 0}

    answers = [
        client.post(f"{PREFIX}/jobs/list", json={"filter": wanted, **page}),
        client.get(f"{PREFIX}/v1/jobs?q=hunter"),
        client.get(f"{PREFIX}/v1/jobs?q=nothing"),
        client.post(f"{PREFIX}/v1/jobs/actions", json=act),
    ]

    assert {answer.status_code for answer in answers} == {403}
    assert "payload.reveal" in answers[0].text
    blank = {"filter": {"payload_search": " "}, **page}
    assert client.post(f"{PREFIX}/jobs/list", json=blank).get_json()["total"] == 1
    admin = client_with_token(storage, "admin")
    assert len(admin.get(f"{PREFIX}/v1/jobs?q=hunter").get_json()["rows"]) == 1


def test_list_pages_newest_first_with_a_true_total(client: FlaskClient) -> None:
    ids = [_enqueue(client, payload={"n": number}) for number in range(5)]

    page = _list(client, limit=2, offset=1)

    assert list(page) == ["rows", "total", "limit", "offset"]
    assert [row["id"] for row in page["rows"]] == [ids[3], ids[2]]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 1)
    assert list(page["rows"][0]) == ROW_KEYS
    assert _list(client, limit=0)["rows"] == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {"a", "b", "c"}),
        ({"queues": [], "kinds": [], "statuses": []}, {"a", "b", "c"}),
        ({"queues": ["q1"]}, {"a", "b"}),
        ({"queues": ["q1", "none"], "kinds": ["x"]}, {"a"}),
        ({"kinds": ["x"]}, {"a", "c"}),
        ({"kinds": [""]}, set()),
        ({"kinds": ["", "y"]}, {"b"}),
        ({"queues": [""]}, set()),
        ({"statuses": ["pending"]}, {"a", "b", "c"}),
        ({"statuses": ["done", "dead"]}, set()),
        ({"statuses": ["scheduled"]}, set()),
        ({"statuses": ["scheduled", "pending"]}, {"a", "b", "c"}),
        ({"payload_search": "NEEDLE"}, {"b"}),
        ({"payload_search": "  needle  "}, {"b"}),
        ({"payload_search": "größe"}, {"c"}),
        ({"payload_search": '"tag":"needle"'}, {"b"}),
        ({"payload_search": "%e%"}, set()),
        ({"payload_search": "n__dle"}, set()),
        ({"payload_search": "  "}, {"a", "b", "c"}),
        ({"payload_search": None}, {"a", "b", "c"}),
        ({"from": "1970-01-01T00:00:00Z"}, {"a", "b", "c"}),
        ({"from": "2999-01-01T00:00:00+00:00"}, set()),
        ({"to": "2000-01-01 00:00:00 UTC"}, set()),
        ({"from": None, "to": None}, {"a", "b", "c"}),
    ],
)
def test_list_filters(
    client: FlaskClient, wanted: dict[str, object], expected: set[str]
) -> None:
    names = {
        _enqueue(client, queue_name="q1", kind="x", payload={}): "a",
        _enqueue(client, queue_name="q1", kind="y", payload={"tag": "needle"}): "b",
        _enqueue(client, queue_name="q2", kind="x", payload={"tag": "größe"}): "c",
    }

    page = _list(client, filter=wanted)

    assert {names[row["id"]] for row in page["rows"]} == expected
    assert page["total"] == len(expected)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filter": {"statuses": ["scheduledd"]}}, "filter.statuses"),
        ({"filter": {"payload_search": "x"}}, "filter.payload_search"),
        ({"filter": {"payload_search": "x" * 257}}, "filter.payload_search"),
        ({"filter": {"from": "+12026-01-02T00:00:00Z"}}, "filter.from"),
        ({"filter": {"to": "1969-01-02T00:00:00Z"}}, "filter.to"),
    ],
)
def test_list_out_of_bounds_is_400(
    client: FlaskClient, body: dict[str, object], field: str
) -> None:
    answer = _post(client, "list", {"limit": 50, "offset": 0, **body})

    _assert_refused(answer, field)


def test_failed_lists_what_waits_for_a_retry(
    client: FlaskClient, storage: Storage
) -> None:
    ids = [_enqueue(client, queue_name=name) for name in ("a", "b", "a")]
    _end(storage, _claim(storage, "a"), JobStatus.FAILED, "token=c4n4ry")
    _end(storage, _claim(storage, "a"), JobStatus.FAILED, "no")
    _end(storage, _claim(storage, "b"), JobStatus.DEAD, "no")

    answer = client.get(f"{PREFIX}/jobs/failed")
    first = client.get(f"{PREFIX}/jobs/failed?limit=1")

    rows = json.loads(answer.data)
    assert [row["id"] for row in rows] == [ids[2], ids[0]]
    assert list(rows[0]) == ROW_KEYS
    assert "c4n4ry" not in answer.text
    assert [row["id"] for row in json.loads(first.data)] == [ids[2]]
    for each in (answer, first):
        assert each.headers["X-Total-Count"] == "2"


def test_kinds_are_those_of_stored_jobs(client: FlaskClient) -> None:
    for kind, queue_name in (("b", "x"), ("a", "x"), ("c", "y")):
        _enqueue(client, kind=kind, queue_name=queue_name)

    answer = client.get(f"{PREFIX}/jobs/kinds")

    assert answer.data == b'["a","b","c"]'
    assert answer.headers["X-Total-Count"] == "3"
    assert client.get(f"{PREFIX}/jobs/kinds?queue_name=x").json == ["a", "b"]
    for unknown in ("unknown", "", "a/b"):
        path = f"{PREFIX}/jobs/kinds?queue_name={unknown}"
        assert client.get(path).data == b"[]"


def test_scheduled_lists_the_earliest_first(client: FlaskClient) -> None:
    _enqueue(client)
    ids = [
        _enqueue(client, queue_name=name, run_at=f"{year}-01-01T00:00:00Z")
        for name, year in (("b", 2999), ("a", 2998), ("a", 2997))
    ]

    answer = client.get(f"{PREFIX}/jobs/scheduled")
    second = client.get(f"{PREFIX}/jobs/scheduled?limit=1&offset=1")
    of_a = client.get(f"{PREFIX}/jobs/scheduled?queue_name=a")

    rows = json.loads(answer.data)
    assert [row["id"] for row in rows] == ids[::-1]
    assert list(rows[0]) == ROW_KEYS
    assert answer.headers["X-Total-Count"] == "3"
    assert [row["id"] for row in json.loads(second.data)] == [ids[1]]
    assert second.headers["X-Total-Count"] == "3"
    assert of_a.headers["X-Total-Count"] == "2"
    for unknown in ("unknown", ""):
        path = f"{PREFIX}/jobs/scheduled?queue_name={unknown}"
        assert client.get(path).data == b"[]"


def test_run_now_lifts_a_wait(client: FlaskClient, storage: Storage) -> None:
    job_id = _enqueue(client, run_at="2999-01-01T00:00:00Z")

    answer = client.post(f"{PREFIX}/jobs/run-now/{job_id}", json={})

    assert answer.data == b"true"
    assert answer.headers["Content-Type"] == "application/json"
    assert _claim(storage).id == job_id


def test_run_now_of_a_running_job_is_false(
    client: FlaskClient, storage: Storage
) -> None:
    job_id = _enqueue(client)
    _claim(storage)

    assert _post(client, f"run-now/{job_id}", {}).data == b"false"
