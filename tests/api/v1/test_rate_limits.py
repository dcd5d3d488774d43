from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token

URL = f"{PREFIX}/v1/rate-limits"
BUCKET: dict[str, object] = {"capacity": 10, "refill_per_sec": 0.0001}


def test_a_bucket_is_made_shown_changed_drained_and_removed(
    client: FlaskClient,
) -> None:
    made = client.put(f"{URL}/mail%20api", json=BUCKET)

    assert made.status_code == 200
    assert made.json is not None
    assert list(made.json) == [
        "scope", "capacity", "refill_per_sec", "tokens", "last_refilled_at",
    ]  # fmt: skip
    assert (made.json["scope"], made.json["tokens"]) == ("mail api", 10.0)
    assert client.get(f"{URL}/mail%20api").json == made.json
    changed = client.put(f"{URL}/mail%20api", json={**BUCKET, "capacity": 4}).json
    assert changed is not None
    assert (changed["capacity"], changed["tokens"]) == (4, 4.0)
    drained = client.post(f"{URL}/mail%20api/drain").json
    assert drained is not None
    assert drained["tokens"] == 0.0
    removed = client.delete(f"{URL}/mail%20api")
    assert (removed.status_code, removed.data) == (204, b"")
    assert client.get(URL).data == b"[]"


def test_buckets_are_listed_by_scope(client: FlaskClient, storage: Storage) -> None:
    for scope in ("b", "a"):
        storage.rate_limits.put(scope, 1, 1.0)

    answer = client.get(URL)

    assert answer.json is not None
    assert [each["scope"] for each in answer.json] == ["a", "b"]
    assert answer.headers["X-Total-Count"] == "2"


@pytest.mark.parametrize("scope", ["none", "a%00b"])
def test_an_unknown_scope_is_404(client: FlaskClient, scope: str) -> None:
    url = f"{URL}/{scope}"

    for answer in (client.get(url), client.post(f"{url}/drain"), client.delete(url)):
        assert answer.status_code == 404
        assert answer.json is not None
        assert answer.json["kind"] == "not_found"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"refill_per_sec": 0}, "refill_per_sec"),
        ({"refill_per_sec": 10**400}, "refill_per_sec"),
    ],
)
def test_a_bad_bucket_is_400(
    client: FlaskClient, storage: Storage, body: dict[str, object], field: str
) -> None:
    answer = client.put(f"{URL}/api", json={**BUCKET, **body})

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == field
    assert storage.rate_limits.all() == []


def test_sec_S29_the_list_of_buckets_has_an_end(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_forge_jobs.handlers.rate_limits.MAX_LISTED", 2)
    for scope in "abc":
        storage.rate_limits.put(scope, capacity=1, refill_per_sec=1.0)
        answer = client.get(URL)
        is_cut = scope == "c"

        assert answer.json is not None
        assert [each["scope"] for each in answer.json] == ["a", "b"][: len(answer.json)]
        assert answer.headers["X-Total-Count"] == str("abc".index(scope) + 1)
        assert ("X-Result-Truncated" in answer.headers) is is_cut


def test_a_bad_scope_is_400(client: FlaskClient) -> None:
    answer = client.put(f"{URL}/a,b", json=BUCKET)

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == "scope"


def test_buckets_are_for_callers_that_see_everything(storage: Storage) -> None:
    """A bucket may be shared by queues that the caller does not see."""
    viewer = client_with_token(storage, "viewer")
    limited = client_with_token(storage, "operator", ["mail"])

    assert viewer.get(URL).status_code == 200
    assert viewer.put(f"{URL}/api", json=BUCKET).status_code == 403
    assert limited.get(URL).status_code == 403
    assert limited.put(f"{URL}/mail", json=BUCKET).status_code == 403
