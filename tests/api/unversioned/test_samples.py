"""The charts of worker processes, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.schemas.fields import parse_instant
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.metrics import (
    SAMPLE_LEVELS,
    DatabaseHealth,
    ResourceUse,
    SampleSums,
)
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token

FROM, TO = "2999-09-16T09:00:00Z", "2999-09-16T09:02:00Z"
PATHS = ("resource-series", "db-series")


def get(client: FlaskClient, path: str, **query: Any) -> TestResponse:
    arguments = {"from": FROM, "to": TO, "bucket_secs": 60} | query
    return client.get(f"{PREFIX}/queue/{path}", query_string=arguments)


@pytest.fixture(autouse=True)
def _sample(storage: Storage) -> None:
    sums = SampleSums()
    use = ResourceUse(12.5, 83_886_080, 0, 1_048_576, 41.0)
    sums.add(use, DatabaseHealth(0, 0, 0, 5_242_880, 65_536))
    sums.writes.record_many([2000])
    at_us = to_micros(parse_instant(FROM))
    levels = {(level, at_us): sums for level in SAMPLE_LEVELS}
    storage.samples.put("01K5A3Q8ZR7T2M4N6P8S0V2X4Z", levels)


def test_resources_are_the_contract_byte_for_byte(client: FlaskClient) -> None:
    """CT-07"""
    answer = get(client, "resource-series")

    assert answer.content_type == "application/json"
    assert answer.data == (
        b'[{"host":"01K5A3Q8ZR7T2M4N6P8S0V2X4Z","buckets":['
        b'{"at":"2999-09-16T09:00:00Z","cpu_pct":12.5,"rss_bytes":83886080,'
        b'"disk_read_bytes":0,"disk_write_bytes":1048576,"disk_used_pct":41.0},'
        b'{"at":"2999-09-16T09:01:00Z","cpu_pct":0.0,"rss_bytes":0,'
        b'"disk_read_bytes":0,"disk_write_bytes":0,"disk_used_pct":0.0}]}]'
    )


def test_health_is_the_contract_byte_for_byte(client: FlaskClient) -> None:
    answer = get(client, "db-series", to="2999-09-16T09:01:00Z")

    assert answer.data == (
        b'[{"host":"01K5A3Q8ZR7T2M4N6P8S0V2X4Z","buckets":['
        b'{"at":"2999-09-16T09:00:00Z","read_p50_ms":0,"read_p95_ms":0,'
        b'"read_p99_ms":0,"reads_per_min":0,"write_p50_ms":2,"write_p95_ms":2,'
        b'"write_p99_ms":2,"writes_per_min":1,"pool_active":0,"pool_idle":0,'
        b'"pool_max":0,"pool_used_pct":0.0,"db_size_bytes":5242880,'
        b'"wal_bytes":65536}]}]'
    )


def test_gaps_show_when_asked_for(client: FlaskClient) -> None:
    answer = get(client, "resource-series", gaps="null")

    assert answer.json is not None
    assert answer.json[0]["buckets"][1]["cpu_pct"] is None


@pytest.mark.parametrize("path", PATHS)
def test_a_host_may_be_asked_for(client: FlaskClient, path: str) -> None:
    assert get(client, path, host="nobody").data == b"[]"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "field"),
    [({"to": "2999-09-18T09:00:00Z"}, "bucket_secs"), ({"gaps": "zero"}, "gaps")],
)
def test_a_bad_query_names_the_parameter(
    client: FlaskClient, path: str, query: dict[str, str], field: str
) -> None:
    answer = get(client, path, **query)

    assert answer.json is not None
    assert (answer.status_code, answer.json["field"]) == (400, field)


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_window_is_an_empty_array(client: FlaskClient, path: str) -> None:
    assert get(client, path, to=FROM).data == b"[]"


@pytest.mark.parametrize("path", PATHS)
def test_a_caller_with_queues_is_refused(storage: Storage, path: str) -> None:
    client = client_with_token(storage, "viewer", ["mail"])

    assert get(client, path).status_code == 403
