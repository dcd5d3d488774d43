from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.response import encode
from flask_forge_jobs.api.schemas.series import NamedSeriesSchema
from flask_forge_jobs.api.v1.series import write_series
from flask_forge_jobs.handlers.series import Bucket, Series
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.figures import PastProcess

# Around the first moment of the tests' clock, at the start of a minute.
WINDOW = {
    "from": "2025-06-15T15:06:00Z",
    "to": "2025-06-15T15:08:00Z",
    "bucket_secs": "60",
}


def get(client: FlaskClient, path: str, **query: Any) -> TestResponse:
    return client.get(f"{PREFIX}/v1/{path}", query_string=query)


@pytest.fixture
def past(storage: Storage) -> PastProcess:
    made = PastProcess(storage)
    made.runs("mail", "send", [100], dead=1)
    made.runs("bulk", "pack", [5], retried=2)
    return made


@pytest.mark.usefixtures("past")
def test_series_of_several_queues_come_in_one_answer(client: FlaskClient) -> None:
    answer = get(client, "series", by="queue", name=["mail", "bulk"], **WINDOW)

    assert answer.json is not None
    assert [(each["name"], len(each["buckets"])) for each in answer.json] == [
        ("bulk", 2),
        ("mail", 2),
    ]
    first, _ = answer.json[1]["buckets"]
    assert (first["at"], first["enqueued"]) == (WINDOW["from"], 2)
    assert (first["completed"], first["dead"]) == (1, 1)


@pytest.mark.usefixtures("past")
def test_the_empty_name_means_all_queues_together(
    client: FlaskClient, storage: Storage
) -> None:
    together, limited = (
        get(caller, "series", by="queue", name="", **WINDOW)
        for caller in (client, client_with_token(storage, "viewer", ["mail"]))
    )

    assert together.json is not None
    ((first, _),) = (each["buckets"] for each in together.json)
    assert (first["enqueued"], first["completed"], first["retried"]) == (5, 2, 2)
    assert first["wait_p95_ms"] > 0
    assert limited.status_code == 403


@pytest.mark.usefixtures("past")
def test_series_without_names_are_of_all_that_are_known(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.ensure("idle")

    queues = get(client, "series", by="queue", **WINDOW)
    kinds = get(client, "series", by="kind", **WINDOW)

    assert queues.json is not None
    assert kinds.json is not None
    assert [each["name"] for each in queues.json] == ["idle"]
    assert [each["name"] for each in kinds.json] == ["pack", "send"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"by": "status"}, "by"),
        ({"by": "kind", "to": "2025-06-19T15:08:00Z"}, "bucket_secs"),
        ({"by": "kind", "name": [str(n) for n in range(101)]}, "name"),
    ],
)
def test_a_bad_query_names_the_parameter(
    client: FlaskClient, query: dict[str, Any], field: str
) -> None:
    answer = get(client, "series", **(WINDOW | query))

    assert answer.json is not None
    assert (answer.status_code, answer.json["field"]) == (400, field)


@pytest.mark.usefixtures("past")
def test_the_table_of_kinds(client: FlaskClient) -> None:
    window = {"from": WINDOW["from"], "to": WINDOW["to"]}

    answer = get(client, "kinds", **window)
    of_mail = get(client, "kinds", queue="mail", **window)

    assert answer.json is not None
    assert [list(row) for row in answer.json] == [
        [
            "kind",
            "completed",
            "dead",
            "retried",
            "total_run_ms",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "cancelled",
            "started",
            "success_rate",
            "usual_run_ms",
        ]
    ] * 2
    assert answer.json[0] | {"p50_ms": 5, "p95_ms": 5, "p99_ms": 5} == {
        "kind": "pack", "completed": 1, "dead": 0, "retried": 2, "total_run_ms": 5,
        "p50_ms": 5, "p95_ms": 5, "p99_ms": 5, "cancelled": 0, "started": 3,
        "success_rate": 1.0, "usual_run_ms": 5,
    }  # fmt: skip
    assert of_mail.json is not None
    assert [row["kind"] for row in of_mail.json] == ["send"]


def test_the_table_of_kinds_is_of_the_last_day(client: FlaskClient) -> None:
    assert get(client, "kinds").data == b"[]"


@pytest.mark.usefixtures("past")
def test_a_caller_with_queues_sees_those_only(storage: Storage) -> None:
    client = client_with_token(storage, "viewer", ["mail"])
    window = {"from": WINDOW["from"], "to": WINDOW["to"]}

    queues = get(client, "series", by="queue", **WINDOW)
    kinds = get(client, "series", by="kind", **WINDOW)
    table = get(client, "kinds", **window)

    assert queues.json is not None
    assert kinds.json is not None
    assert table.json is not None
    assert [each["name"] for each in queues.json] == ["mail"]
    assert [each["name"] for each in kinds.json] == ["send"]
    assert [row["kind"] for row in table.json] == ["send"]
    assert get(client, "series", by="queue", name="bulk", **WINDOW).status_code == 403


@pytest.mark.parametrize("name", ["mail", 'é"\\\ud800'])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_series_is_written_as_its_schema_says(name: str, count: int) -> None:
    at = datetime(2027, 3, 1, 9, tzinfo=UTC)
    buckets = [Bucket(at, *range(number, number + 15)) for number in range(count)]
    series = Series(name, buckets)

    assert write_series(series) == encode(NamedSeriesSchema().dump(series))
