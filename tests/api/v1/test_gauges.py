from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.model.gauges import ALL_QUEUES, Gauges
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.clocks import START_US

# Around the first moment of the tests' clock.
WINDOW = "from=2025-06-15T15:05:00Z&to=2025-06-15T15:15:00Z&bucket_secs=300"


@pytest.fixture(autouse=True)
def _put(storage: Storage) -> None:
    sample = Gauges(1, 4, 30, 2, 1, 3)
    for name in ("bank", "mail"):
        storage.queues.ensure(name)
    storage.gauges.put(START_US, dict.fromkeys(("bank", "mail", ALL_QUEUES), sample))


def names_of(answer: Any) -> list[str]:
    return [each["name"] for each in answer.json]


def test_gauges_of_a_queue(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/v1/gauges?name=mail&{WINDOW}")

    assert answer.json is not None
    [mail] = answer.json
    assert list(mail.items()) == [
        ("name", "mail"),
        ("from", "2025-06-15T15:05:00Z"),
        ("bucket_secs", 300),
        ("waiting", [4, None]),
        ("oldest_wait_seconds", [30, None]),
        ("running", [2, None]),
        ("free_slots", [1, None]),
        ("live_workers", [3, None]),
    ]


def test_the_empty_name_stands_for_all_queues(client: FlaskClient) -> None:
    assert names_of(client.get(f"{PREFIX}/v1/gauges?name=&{WINDOW}")) == [""]
    assert names_of(client.get(f"{PREFIX}/v1/gauges?{WINDOW}")) == ["bank", "mail"]


def test_a_limited_caller_sees_its_queues_only(storage: Storage) -> None:
    client = client_with_token(storage, "viewer", ["mail"])

    def get(query: str) -> Any:
        return client.get(f"{PREFIX}/v1/gauges?{query}{WINDOW}")

    assert names_of(get("")) == ["mail"]
    assert [get(f"name={name}&").status_code for name in ("bank", "")] == [403, 403]
