"""``GET /v1/audit``: shape, filters, cursor, and for administrators only."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token

URL = f"{PREFIX}/v1/audit"


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return client_with_token(storage, "admin", token_id="ada")


def test_rows_have_the_keys_of_the_contract_in_order(client: FlaskClient) -> None:
    client.post(
        f"{PREFIX}/queue/mail/paused",
        json={"paused": True},
        headers={"X-Request-Id": "r-1"},
    )

    document = client.get(URL).get_json()

    assert list(document) == ["rows", "next_cursor"]
    [row] = document["rows"]
    assert list(row) == [
        "id", "at", "actor", "action", "target", "detail", "request_id",
    ]  # fmt: skip
    assert (row["actor"], row["action"], row["target"], row["request_id"]) == (
        "ada", "queue_set_paused", "mail", "r-1",
    )  # fmt: skip
    assert row["detail"] == {
        "address": "127.0.0.1",
        "arguments": {"body": {"paused": True}},
        "changed": 0,
        "requests": 1,
        "status": 404,
    }
    assert document["next_cursor"] is None


def test_pages_are_chained(client: FlaskClient, storage: Storage) -> None:
    storage.queues.ensure("mail")
    for n in range(3):
        client.post(f"{PREFIX}/queue/mail/max-workers", json={"n": n})

    answer = client.get(f"{URL}?limit=2")
    first = answer.get_json()
    second = client.get(
        URL, query_string={"limit": 2, "cursor": first["next_cursor"]}
    ).get_json()
    link = answer.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    assert client.get(link).get_json() == second

    sent = [
        row["detail"]["arguments"]["body"]["n"]
        for row in (*first["rows"], *second["rows"])
    ]
    assert sent == [2, 1, 0]
    assert second["next_cursor"] is None


def test_filters(client: FlaskClient) -> None:
    client.post(f"{PREFIX}/queue/mail/paused", json={"paused": True})
    client.post(f"{PREFIX}/jobs/retry", json={"ids": []})

    def found(query: str) -> list[str]:
        return [row["action"] for row in client.get(URL + query).get_json()["rows"]]

    assert found("?actor=ada") == ["jobs_retry", "queue_set_paused"]
    assert found("?actor=eve") == []
    assert found("?action=jobs_retry") == ["jobs_retry"]
    assert found("?target=mail") == ["queue_set_paused"]
    assert found("?from=2999-01-01T00:00:00Z") == []
    assert found("?to=2001-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2027-01-02T00:00:00Z&to=2027-01-01T00:00:00Z", "from"),
        ("actor=", "actor"),
    ],
)
def test_bad_query_is_400_and_names_its_field(
    client: FlaskClient, query: str, field: str
) -> None:
    answer = client.get(f"{URL}?{query}")

    assert answer.status_code == 400
    assert answer.get_json()["field"] == field


@pytest.mark.parametrize("role", ["metrics", "viewer", "operator"])
def test_only_an_administrator_reads_it(storage: Storage, role: str) -> None:
    assert client_with_token(storage, role).get(URL).status_code == 403
