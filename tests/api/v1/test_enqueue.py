from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.jobs.reader import JobReader
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.jobs import enqueue, run
from tests.support.sql import Sql
from tests.support.threads import run_together

URL = f"{PREFIX}/v1/jobs"
JOB: dict[str, object] = {"kind": "send", "payload": {"order_id": 4711}}
FAR_OFF = "2999-01-01T00:00:00Z"
# Every route that takes an Idempotency-Key: its URL and a body for it.
KEYED: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "unversioned": (f"{PREFIX}/jobs/enqueue", lambda job: job),
    "v1": (URL, lambda job: job),
    "bulk": (f"{URL}/bulk", lambda job: {"items": [job, JOB]}),
}
ROWS = {"unversioned": 1, "v1": 1, "bulk": 2}


def _count(sql: Sql) -> int:
    return int(sql.value("SELECT COUNT(*) FROM forge_job"))


def test_a_kind_is_looked_up_until_one_of_its_jobs_is_stored(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mount(storage)
    look_up = JobReader.named_kinds
    asked: list[object] = []

    def named_kinds(
        reader: JobReader, queue_names: Collection[str] | None = None
    ) -> set[str]:
        asked.append(queue_names)
        return look_up(reader, queue_names)

    monkeypatch.setattr(JobReader, "named_kinds", named_kinds)
    for _ in range(4):
        assert client.post(URL, json=JOB).status_code == 201

    assert asked == [None, None]


def test_a_new_job_is_answered_in_full(client: FlaskClient, storage: Storage) -> None:
    body = {**JOB, "queue_name": "mail", "run_at": FAR_OFF, "priority": -5}

    answer = client.post(URL, json=body)

    assert answer.status_code == 201
    assert answer.json is not None
    assert list(answer.json) == [
        "id", "deduped", "queue_name", "status", "scheduled_at",
    ]  # fmt: skip
    job = storage.job_reader.get(answer.json["id"])
    assert answer.json == {
        "id": job.id,
        "deduped": False,
        "queue_name": "mail",
        "status": "pending",
        "scheduled_at": FAR_OFF,
    }
    assert (job.kind, job.payload, job.priority) == ("send", '{"order_id":4711}', -5)
    assert answer.headers["Location"] == f"{URL}/{job.id}"
    assert client.get(answer.headers["Location"]).status_code == 200
    assert answer.headers["X-Job-Deduped"] == "false"
    assert answer.headers["X-Queue-Created"] == "true"


def test_a_due_job_says_when_it_was_due(client: FlaskClient, storage: Storage) -> None:
    for _ in range(2):  # with the queue unknown, and known
        answer = client.post(URL, json=JOB).json

        assert answer is not None
        job = storage.job_reader.get(answer["id"])
        assert (
            answer["scheduled_at"]
            == client.get(f"{PREFIX}/jobs/inspect/{job.id}").get_json()["row"][
                "scheduled_at"
            ]
        )


def test_a_deduped_job_is_200_and_describes_the_holder(
    client: FlaskClient, storage: Storage
) -> None:
    body = {**JOB, "queue_name": "mail", "dedupe_key": "d"}
    first = client.post(URL, json=body).json
    storage.jobs.claim("mail", "owner")

    answer = client.post(URL, json={**body, "queue_name": "other"})

    assert first is not None
    assert answer.status_code == 200
    assert answer.headers["Location"] == f"{URL}/{first['id']}"
    assert answer.headers["X-Job-Deduped"] == "true"
    assert answer.json == {**first, "deduped": True, "status": "in_progress"}


BAD: list[tuple[dict[str, object], str]] = [
    ({"kind": " "}, "kind"),
    ({"delay": -1}, "delay"),
    ({"delay": 1, "run_at": FAR_OFF}, "delay"),
    ({"prioritty": 1}, "prioritty"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
def test_a_bad_job_is_400_and_one_of_many_refuses_all(
    client: FlaskClient, storage: Storage, sql: Sql, body: dict[str, object], field: str
) -> None:
    one = client.post(URL, json={**JOB, **body})
    many = client.post(f"{URL}/bulk", json={"items": [JOB, JOB, {**JOB, **body}]})

    for answer, expected in ((one, field), (many, f"items[2].{field}")):
        assert answer.status_code == 400
        assert answer.json is not None
        assert (answer.json["kind"], answer.json["field"]) == ("validation", expected)
    assert _count(sql) == 0
    assert storage.queues.all() == []


# -- bulk --------------------------------------------------------------------------


def test_many_jobs_are_answered_in_order(client: FlaskClient, storage: Storage) -> None:
    items = [{**JOB, "dedupe_key": key} for key in ("a", "b", "a")]
    items.append({**JOB, "queue_name": "mail"})

    answer = client.post(f"{URL}/bulk", json={"items": items})

    assert answer.status_code == 201
    assert answer.json is not None
    assert list(answer.json) == ["results", "enqueued", "deduped"]
    assert (answer.json["enqueued"], answer.json["deduped"]) == (3, 1)
    results = answer.json["results"]
    assert [result["deduped"] for result in results] == [False, False, True, False]
    assert results[0]["id"] == results[2]["id"]
    assert results[3]["queue_name"] == "mail"
    for result in results:
        assert storage.job_reader.get(result["id"]).status == result["status"]


def test_a_thousand_jobs_are_taken_and_no_more(client: FlaskClient, sql: Sql) -> None:
    accepted = client.post(f"{URL}/bulk", json={"items": [JOB] * 1000})
    refused = client.post(f"{URL}/bulk", json={"items": [JOB] * 1001})

    assert accepted.status_code == 201
    assert _count(sql) == 1000
    assert refused.status_code == 400
    assert refused.json is not None
    assert refused.json["field"] == "items"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"items": []}, "items"),
        ({"items": [1]}, "items[0]"),
        ({"items": [None]}, "items[0]"),
    ],
)
def test_a_bad_list_is_400(client: FlaskClient, body: object, field: str) -> None:
    answer = client.post(f"{URL}/bulk", json=body)

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == field


def test_a_held_key_of_another_kind_refuses_all(client: FlaskClient, sql: Sql) -> None:
    client.post(URL, json={**JOB, "dedupe_key": "d"})

    items = [JOB, {**JOB, "kind": "other", "dedupe_key": "d"}]
    answer = client.post(f"{URL}/bulk", json={"items": items})

    assert answer.status_code == 409
    assert _count(sql) == 1


# -- queues ------------------------------------------------------------------------


@pytest.mark.parametrize("route", KEYED)
def test_a_strict_queue_must_be_registered(storage: Storage, route: str) -> None:
    client = mount(storage, BlueprintOptions(strict_queues=True))
    url, body = KEYED[route]
    storage.queues.ensure("default")

    unknown = client.post(url, json=body({**JOB, "queue_name": "none"}))
    known = client.post(url, json=body({**JOB, "queue_name": "default"}))

    assert unknown.status_code == 404
    assert unknown.json is not None
    assert "'none'" in unknown.json["msg"]
    assert known.status_code in (200, 201)
    assert [queue.name for queue in storage.queues.all()] == ["default"]


@pytest.mark.parametrize("route", KEYED)
def test_sec_S31_H34_a_deep_queue_takes_in_no_more(
    storage: Storage, sql: Sql, route: str
) -> None:
    """429 as every limit of ours; a queue that has room is not touched by it."""
    client = mount(storage, BlueprintOptions(max_queue_depth=2))
    url, body = KEYED[route]
    for _ in range(2):
        enqueue(storage, queue_name="mail")

    full = client.post(url, json=body({**JOB, "queue_name": "mail"}))

    assert full.status_code == 429
    assert full.data == b'{"kind":"rate_limited","retry_after_secs":5}'
    assert full.headers["Retry-After"] == "5"
    assert _count(sql) == 2

    run(storage, Done(), queue_name="mail")
    again = client.post(url, json=body({**JOB, "queue_name": "mail"}))
    other = client.post(url, json=JOB if route != "bulk" else {"items": [JOB]})
    assert again.status_code in (200, 201)
    assert other.status_code in (200, 201)


@pytest.mark.parametrize("route", KEYED)
def test_sec_S32_a_queue_too_many_is_400(
    database_settings: DatabaseSettings, route: str
) -> None:
    url, body = KEYED[route]
    settings = replace(database_settings, max_queues=1)
    with contextlib.closing(open_storage(settings)) as full:
        full.queues.ensure("default")
        client = mount(full)
        answer = client.post(url, json=body({**JOB, "queue_name": "mail"}))

        assert [queue.name for queue in full.queues.all()] == ["default"]
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == "queue_name"
    assert "FORGE_JOBS_MAX_QUEUES" in answer.json["msg"]


@pytest.mark.parametrize("route", KEYED)
def test_sec_S32_a_kind_too_many_is_400(storage: Storage, route: str) -> None:
    url, body = KEYED[route]
    storage.jobs.enqueue_many([NewJob("known"), NewJob("send")])
    client = mount(storage, BlueprintOptions(max_kinds=2))

    assert client.post(url, json=body({**JOB, "kind": "known"})).status_code < 300
    answer = client.post(url, json=body({**JOB, "kind": "invented"}))

    assert storage.job_reader.kinds() == ["known", "send"]
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"].endswith("kind")
    assert "FORGE_JOBS_MAX_KINDS" in answer.json["msg"]


def test_sec_S32_a_kind_of_another_queue_is_like_any_other(storage: Storage) -> None:
    """Else its refusal would tell a limited caller which kinds other queues have"""
    storage.jobs.enqueue_many([NewJob("guess"), NewJob("mine", queue_name="own")])
    client = client_with_token(storage, "operator", ["own"], max_kinds=1)

    answers = []
    for kind in ("mine", "guess", "other"):
        answer = client.post(URL, json={**JOB, "kind": kind, "queue_name": "own"})
        answers.append((answer.status_code, answer.text.replace(kind, "")))

    assert [status for status, _ in answers] == [201, 400, 400]
    assert answers[1] == answers[2]


def test_sec_S31_the_demo_is_no_way_around(storage: Storage, sql: Sql) -> None:
    client = mount(storage, BlueprintOptions(max_queue_depth=1, enable_demo=True))

    answers = [client.post(f"{PREFIX}/jobs/enqueue-demo", json={}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert _count(sql) == 1


@pytest.mark.parametrize("route", KEYED)
def test_a_limited_caller_enqueues_to_its_own_queues_only(
    storage: Storage, sql: Sql, route: str
) -> None:
    client = client_with_token(storage, "operator", ["default"])
    url, body = KEYED[route]

    assert client.post(url, json=body({**JOB, "queue_name": "no"})).status_code == 403
    assert client.post(url, json=body(JOB)).status_code in (200, 201)
    assert _count(sql) == ROWS[route]


# -- Idempotency-Key ---------------------------------------------------------------


def _send(client: FlaskClient, route: str, key: str, **job: object) -> TestResponse:
    url, body = KEYED[route]
    headers = {"Idempotency-Key": key}
    return client.post(url, json=body({**JOB, **job}), headers=headers)


@pytest.mark.parametrize("route", KEYED)
def test_H29_the_same_request_again_has_the_same_answer(  # its name
    client: FlaskClient, storage: Storage, sql: Sql, route: str
) -> None:
    first = _send(client, route, "key-1")
    run(storage, Done())

    again = _send(client, route, "key-1")

    assert (again.status_code, again.data) == (first.status_code, first.data)
    for header in ("Location", "X-Job-Deduped", "X-Queue-Created"):
        assert again.headers.get(header) == first.headers.get(header)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert _count(sql) == ROWS[route]


@pytest.mark.parametrize("route", ["v1", "bulk"])
def test_a_delay_counts_from_the_first_request_with_its_key(
    client: FlaskClient, storage: Storage, sql: Sql, route: str
) -> None:
    first = _send(client, route, "key-1", delay=3600.5)
    sql.age(60)
    again = _send(client, route, "key-1", delay=3600.5)

    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert _send(client, route, "key-1", delay=3600).status_code == 409
    job = max(
        storage.job_reader.page(JobFilter(), 5).rows, key=lambda job: job.scheduled_at
    )
    waits_s = (job.scheduled_at - job.enqueued_at).total_seconds()
    assert waits_s == pytest.approx(3600.5, abs=30)


@pytest.mark.parametrize("route", KEYED)
def test_H29_another_request_with_the_key_is_409(  # its name
    client: FlaskClient, sql: Sql, route: str
) -> None:
    _send(client, route, "key-1")

    for other in KEYED:
        changed = _send(client, other, "key-1", priority=1)
        assert changed.status_code == 409
        if other != route:
            assert _send(client, other, "key-1").status_code == 409
    assert _count(sql) == ROWS[route]


@pytest.mark.parametrize("route", KEYED)
def test_H29_twins_at_once_make_one_row(  # its name
    storage: Storage, sql: Sql, route: str
) -> None:
    """Through the application, one client a thread."""
    app = mount(storage).application
    storage.open()

    for number in range(5):
        key = f"twin-{number}"
        answers = run_together(
            [lambda key=key: _send(app.test_client(), route, key)] * 4  # type: ignore[misc]  # bound per round
        )
        assert len({answer.data for answer in answers}) == 1
        replays = [answer.headers.get("Idempotency-Replayed") for answer in answers]
        assert sorted(map(str, replays)) == ["None", "true", "true", "true"]

    assert _count(sql) == 5 * ROWS[route]


@pytest.mark.parametrize("route", KEYED)
@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a,b", "é"])
def test_H29_a_bad_key_is_400(  # its name
    client: FlaskClient, sql: Sql, route: str, key: str
) -> None:
    """A header that is sent twice arrives with a comma in it (H24)."""
    answer = _send(client, route, key)

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == "Idempotency-Key"
    assert _count(sql) == 0


def test_H29_an_expired_key_is_as_good_as_new(  # its name
    client: FlaskClient, sql: Sql
) -> None:
    _send(client, "v1", "key-1")
    sql.age(24 * 3600 + 1)

    answer = _send(client, "v1", "key-1", priority=1)

    assert answer.status_code == 201
    assert _count(sql) == 2


def test_two_callers_may_use_the_same_key(storage: Storage, sql: Sql) -> None:
    storage.jobs.enqueue(NewJob("warm"))
    mine = client_with_token(storage, "operator")
    yours = mount(storage)

    assert _send(mine, "v1", "key-1").status_code == 201
    assert _send(yours, "v1", "key-1", priority=1).status_code == 201
    assert _count(sql) == 3


def test_a_refused_request_leaves_its_key_unused(client: FlaskClient) -> None:
    assert _send(client, "v1", "key-1", max_attempts=0).status_code == 400

    assert _send(client, "v1", "key-1").status_code == 201
