from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.jobs import enqueue, run

KEYS = [
    "signature", "count", "kinds", "queues", "first_seen", "last_seen", "sample_id",
    "message", "retrying", "dead", "trend", "trend_from",
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "field"),
    [("kind=", "kind"), ("range=1h", "range"), ("sort=count", "sort")],
)
def test_a_bad_parameter_is_400(client: FlaskClient, query: str, field: str) -> None:
    answer = client.get(f"{PREFIX}/v1/errors?{query}")

    assert answer.status_code == 400
    assert answer.json is not None
    assert (answer.json["kind"], answer.json["field"]) == ("validation", field)


def test_errors_are_groups(client: FlaskClient, storage: Storage) -> None:
    ids = []
    for n in (1, 2):
        ids.append(enqueue(storage))
        run(storage, Dead(f"token=c4n4ry refused {n} times"))

    answer = client.get(f"{PREFIX}/v1/errors?range=24h")

    [group] = json.loads(answer.data)
    assert list(group) == KEYS
    assert group["signature"] == "token=[redacted] refused <n> times"
    assert group["message"] == "token=[redacted] refused 2 times"
    assert (group["count"], group["sample_id"]) == (2, ids[1])
    assert (group["kinds"], group["queues"]) == (["noop"], ["default"])
    assert (group["retrying"], group["dead"]) == (0, 2)
    assert group["trend"][-2:] in ([0, 2], [2, 0], [1, 1])
    assert len(group["trend"]) == 24
    assert answer.headers["X-Total-Count"] == "1"
    assert "Link" not in answer.headers


def test_a_page_links_to_the_next_one(client: FlaskClient, storage: Storage) -> None:
    for text in ("ab", "cd", "ef"):
        enqueue(storage)
        run(storage, Dead(text))

    first = client.get(f"{PREFIX}/v1/errors?limit=2")
    address = first.headers["Link"].partition("<")[2].partition(">")[0]
    last = client.get(address)

    shown = json.loads(first.data) + json.loads(last.data)
    assert [group["signature"] for group in shown] == ["ab", "cd", "ef"]
    assert last.headers["X-Total-Count"] == "3"
    assert "Link" not in last.headers


def test_a_signature_filters_listings_and_actions(
    client: FlaskClient, storage: Storage
) -> None:
    for text in ("no 1", "no 2", "else"):
        enqueue(storage)
        run(storage, Dead(text))

    listed = client.get(f"{PREFIX}/v1/jobs", query_string={"signature": "no <n>"})
    wanted = {"action": "retry", "filter": {"signature": "no <n>"}, "expected": 2}
    acted = client.post(f"{PREFIX}/v1/jobs/actions", json=wanted)

    assert listed.json is not None
    assert acted.json is not None
    ids = {row["id"] for row in listed.json["rows"]}
    assert (len(ids), listed.json["total"]) == (2, 2)
    assert (acted.json["matched"], acted.json["changed"]) == (2, 2)
    for job_id in ids:
        record = client.get(f"{PREFIX}/v1/jobs/{job_id}").json
        assert record is not None
        assert (record["row"]["status"], record["signature"]) == ("pending", "no <n>")


def test_a_limited_caller_acts_in_its_own_queues(storage: Storage) -> None:
    for queue_name in ("own", "other"):
        enqueue(storage, queue_name=queue_name)
        run(storage, Dead("no"), queue_name=queue_name)
    client = client_with_token(storage, "admin", ["own"])

    [group] = json.loads(client.get(f"{PREFIX}/v1/errors").data)
    listed = client.get(f"{PREFIX}/v1/jobs?signature=no").json
    wanted = {"action": "delete", "filter": {"signature": "no"}}
    acted = client.post(f"{PREFIX}/v1/jobs/actions", json=wanted).json

    assert (group["count"], group["dead"], group["queues"]) == (1, 1, ["own"])
    assert listed is not None
    assert acted is not None
    assert [row["queue_name"] for row in listed["rows"]] == ["own"]
    assert (listed["total"], acted["matched"], acted["changed"]) == (1, 1, 1)
    assert client.get(f"{PREFIX}/v1/errors?queue=other").status_code == 403
