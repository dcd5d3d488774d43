from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.model.outcomes import Dead, Done
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.jobs import enqueue, run
from tests.support.sql import Sql


def test_events_go_on_where_they_ended(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    job_id = enqueue(storage)
    sql.age(20)
    run(storage, Done())
    sql.age(20)

    first = json.loads(client.get(f"{PREFIX}/v1/events?after=0&limit=1").data)
    second = json.loads(
        client.get(f"{PREFIX}/v1/events?after={first['next']}&type=completed").data
    )

    assert list(first) == ["events", "next"]
    [event] = first["events"]
    assert list(event) == ["id", "at", "type", "queue_name", "kind", "job_id"]
    assert (event["type"], event["job_id"]) == ("enqueued", job_id)
    assert event["id"] == first["next"]
    assert [each["type"] for each in second["events"]] == ["completed"]
    last = client.get(f"{PREFIX}/v1/events?after={second['next']}")
    assert last.json == {"events": [], "next": second["next"]}


def test_the_last_events_come_without_a_beginning(
    client: FlaskClient, storage: Storage, sql: Sql
) -> None:
    empty = json.loads(client.get(f"{PREFIX}/v1/events").data)
    for _ in range(3):
        enqueue(storage)
    sql.age(20)

    latest = json.loads(client.get(f"{PREFIX}/v1/events?limit=2").data)

    assert empty["events"] == []
    assert empty["next"] > 0
    assert len(latest["events"]) == 2


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("events?limit=501", "limit"),
        ("events?type=retried", "type"),
        ("events?queue=", "queue"),
    ],
)
def test_a_bad_parameter_is_400(client: FlaskClient, path: str, field: str) -> None:
    answer = client.get(f"{PREFIX}/v1/{path}")

    assert answer.status_code == 400
    assert answer.json is not None
    assert (answer.json["kind"], answer.json["field"]) == ("validation", field)


def test_stats_are_totals(client: FlaskClient, storage: Storage) -> None:
    enqueue(storage)
    run(storage, Dead("no"))
    enqueue(storage)

    document = json.loads(client.get(f"{PREFIX}/v1/stats").data)

    assert list(document) == [
        "counts", "queues", "paused_queues", "throttled_queues", "unassigned_queues",
        "orphan_queues", "workers_live", "max_lag_seconds", "dead_last_24h", "at",
    ]  # fmt: skip
    assert document["counts"] == {
        "pending": 1, "scheduled": 0, "in_progress": 0, "done": 0, "failed": 0,
        "dead": 1,
    }  # fmt: skip
    assert document["queues"] == 1
    assert document["unassigned_queues"] == ["default"]
    assert document["dead_last_24h"] == 1


def test_a_limited_caller_is_told_of_its_own_queues(storage: Storage, sql: Sql) -> None:
    for queue_name in ("own", "other"):
        enqueue(storage, queue_name=queue_name)
        run(storage, Dead("no"), queue_name=queue_name)
    sql.age(20)
    client = client_with_token(storage, "viewer", ["own"])

    events = json.loads(client.get(f"{PREFIX}/v1/events").data)["events"]
    [group] = json.loads(client.get(f"{PREFIX}/v1/errors").data)
    totals = json.loads(client.get(f"{PREFIX}/v1/stats").data)

    assert {event["queue_name"] for event in events} == {"own"}
    assert group["queues"] == ["own"]
    assert (totals["queues"], totals["counts"]["dead"]) == (1, 1)
    for path in ("events", "errors"):
        assert client.get(f"{PREFIX}/v1/{path}?queue=other").status_code == 403
