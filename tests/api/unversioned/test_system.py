from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.support.backends import each_backend


def test_health_is_two_bytes(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/health")

    assert answer.data == b"ok"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_health_does_not_touch_the_storage(bare_client: FlaskClient) -> None:
    assert bare_client.get(f"{PREFIX}/health").status_code == 200


@each_backend
def test_storage_info_is_pairs_of_text(client: FlaskClient, storage: Storage) -> None:
    answer = client.get(f"{PREFIX}/storage/info")

    assert answer.json is not None
    assert list(answer.json) == ["backend", "fields"]
    assert answer.json["backend"] == storage.backend
    assert answer.json["fields"]
    for pair in answer.json["fields"]:
        assert [type(part) for part in pair] == [str, str]
    names = [name for name, _ in answer.json["fields"]]
    first = {
        "sqlite": [
            "sqlite_version",
            "journal_mode",
            "busy_timeout_secs",
            "write_pool_max",
            "read_pool_max",
        ],
        "postgres": ["server_version", "max_connections"],
    }[storage.backend]
    assert names[: len(first)] == first


@pytest.mark.parametrize(
    "accept", ["*/*", "application/openmetrics-text", "text/plain; version=1.0.0"]
)
def test_metrics_are_always_in_the_same_format(
    client: FlaskClient, storage: Storage, accept: str
) -> None:
    storage.queues.ensure("mail")

    answer = client.get(f"{PREFIX}/metrics", headers={"Accept": accept})

    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'queue_max_workers{queue="mail"} 64\n' in answer.text
    assert 'queue_throttled{queue="mail"} 0\n# HELP forge_jobs_' in answer.text
