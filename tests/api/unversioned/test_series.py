"""The two charts, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.figures import PastProcess

FROM, TO = "2026-09-16T09:00:00+00:00", "2026-09-16T09:02:00+00:00"
PATHS = ("queue/timeline", "queue/metric-series")


def get(client: FlaskClient, path: str, **query: Any) -> TestResponse:
    arguments = {"from": FROM, "to": TO, "bucket_secs": 60} | query
    if path == "queue/metric-series":
        arguments = {"queue": ""} | arguments
    return client.get(f"{PREFIX}/{path}", query_string=arguments)


def fault(answer: TestResponse) -> tuple[int, str]:
    assert answer.json is not None
    return answer.status_code, answer.json["field"]


@pytest.fixture
def past(storage: Storage) -> PastProcess:
    from flask_forge_jobs.api.schemas.fields import parse_instant

    return PastProcess(storage, to_micros(parse_instant(FROM)))


def test_the_timeline_is_the_contract_byte_for_byte(
    client: FlaskClient, past: PastProcess
) -> None:
    past.runs("mail", "send", [1], dead=1, retried=1)

    answer = get(client, "queue/timeline")

    assert answer.content_type == "application/json"
    assert answer.data == (
        b'[{"at":"2026-09-16T09:00:00Z","enqueued":3,"started":3,"retried":1,'
        b'"completed":1,"failed":1,"processing_p50_ms":1,"processing_p95_ms":1,'
        b'"processing_p99_ms":1,"total_p50_ms":2,"total_p95_ms":2,"total_p99_ms":2},'
        b'{"at":"2026-09-16T09:01:00Z","enqueued":0,"started":0,"retried":0,'
        b'"completed":0,"failed":0,"processing_p50_ms":0,"processing_p95_ms":0,'
        b'"processing_p99_ms":0,"total_p50_ms":0,"total_p95_ms":0,"total_p99_ms":0}]'
    )


def test_the_series_of_a_queue_is_the_contract_byte_for_byte(
    client: FlaskClient, storage: Storage, past: PastProcess
) -> None:
    storage.queues.ensure("mail")
    past.runs("mail", "send", [1], dead=1)
    past.runs("bulk", "send", [5])

    answer = get(client, "queue/metric-series", queue="mail", bucket_secs=120)

    assert answer.data == (
        b'[{"at":"2026-09-16T09:00:00Z","enqueued":2,"completed":1,"failed":1,'
        b'"proc_p50_ms":1,"proc_p95_ms":1,"proc_p99_ms":1,'
        b'"total_p50_ms":2,"total_p95_ms":2,"total_p99_ms":2}]'
    )


def test_buckets_take_the_fraction_of_the_start(client: FlaskClient) -> None:
    answer = get(client, "queue/timeline", **{"from": "2026-09-16 09:00:00.120Z"})

    assert answer.json is not None
    assert [bucket["at"] for bucket in answer.json] == [
        "2026-09-16T09:00:00.120Z",
        "2026-09-16T09:01:00.120Z",
    ]


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_window_is_an_empty_array(client: FlaskClient, path: str) -> None:
    """CT-16"""
    assert get(client, path, to=FROM).data == b"[]"
    assert get(client, path, to="1999-01-01T00:00:00Z").data == b"[]"
    assert get(client, "queue/timeline", bucket_secs=0).data == b"[]"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"to": "2026-09-18T09:00:00Z"}, "bucket_secs"),
        ({"bucket_secs": "4294967296"}, "bucket_secs"),
    ],
)
def test_a_bad_window_names_the_parameter(
    client: FlaskClient, path: str, query: dict[str, str], field: str
) -> None:
    assert fault(get(client, path, **query)) == (400, field)


def test_what_is_missing_is_named(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/queue/timeline?from=2026-09-16T09:00:00Z")

    assert fault(answer)[0] == 400
    answer = client.get(
        f"{PREFIX}/queue/metric-series",
        query_string={"from": FROM, "to": TO, "bucket_secs": 60},
    )
    assert fault(answer) == (400, "queue")


def test_the_timeline_may_be_filtered(client: FlaskClient, past: PastProcess) -> None:
    past.runs("mail", "send", [1])
    past.runs("bulk", "send", [1, 1])

    def enqueued(**query: str) -> int:
        answer = get(client, "queue/timeline", **query)
        assert answer.json is not None
        count: int = answer.json[0]["enqueued"]
        return count

    assert enqueued() == 3
    assert enqueued(queue="mail") == 1
    assert enqueued(kind="send", queue="bulk") == 2
    assert enqueued(kind="other") == 0
    assert enqueued(unknown="ignored") == 3


def test_an_unknown_queue_is_not_found(client: FlaskClient) -> None:
    answer = get(client, "queue/metric-series", queue="nowhere")

    assert answer.status_code == 404
    assert answer.json == {"kind": "not_found", "msg": "no queue is named 'nowhere'"}


def test_an_enqueue_over_http_is_on_the_timeline(
    client: FlaskClient, storage: Storage
) -> None:
    client.post(f"{PREFIX}/jobs/enqueue", json={"kind": "send", "payload": {}})
    storage.jobs.enqueue(NewJob("send"))
    storage.flusher.flush()

    answer = get(client, "queue/timeline", to="2999-01-01T00:00:00Z", bucket_secs=10**8)

    assert answer.json is not None
    assert sum(bucket["enqueued"] for bucket in answer.json) == 2


def test_a_caller_with_queues_sees_those_only(
    storage: Storage, past: PastProcess
) -> None:
    storage.queues.ensure("mail")
    past.runs("mail", "send", [1])
    past.runs("bulk", "send", [1, 1])
    client = client_with_token(storage, "viewer", ["mail"])

    answer = get(client, "queue/timeline")

    assert answer.json is not None
    assert answer.json[0]["enqueued"] == 1
    assert get(client, "queue/timeline", queue="bulk").status_code == 403
    assert get(client, "queue/metric-series", queue="mail").status_code == 200
    assert get(client, "queue/metric-series", queue="bulk").status_code == 403
    assert get(client, "queue/metric-series", queue="").status_code == 403
