"""A token that is limited to one queue sees and changes nothing of another."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal, client_with_token
from tests.support.jobs import run


@pytest.fixture(autouse=True)
def jobs(storage: Storage) -> dict[str, str]:
    """One job in each of two queues."""
    return {
        name: storage.jobs.enqueue(NewJob(kind=name, queue_name=name)).id
        for name in ("mail", "bank")
    }


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return client_with_token(storage, "admin", ["mail"])


def _list(client: FlaskClient, **wanted: object) -> tuple[int, list[str], int]:
    answer = client.post(
        f"{PREFIX}/jobs/list", json={"filter": wanted, "limit": 9, "offset": 0}
    )
    if answer.status_code != 200:
        return answer.status_code, [], 0
    document = answer.get_json()
    rows = [row["queue_name"] for row in document["rows"]]
    return answer.status_code, rows, document["total"]


@pytest.mark.parametrize("wanted", [{}, {"queues": ["mail"]}, {"payload_search": "{}"}])
def test_lists_and_totals_hold_the_own_queue_only(
    client: FlaskClient, wanted: dict[str, object]
) -> None:
    assert _list(client, **wanted) == (200, ["mail"], 1)


@pytest.mark.parametrize("queues", [["bank"], ["mail", "bank"], ["none"]])
def test_naming_another_queue_is_403_whether_it_exists_or_not(
    client: FlaskClient, queues: list[str]
) -> None:
    assert _list(client, queues=queues)[0] == 403


@pytest.mark.parametrize("action", ["inspect", "run-now"])
def test_job_elsewhere_answers_like_a_job_nowhere(
    client: FlaskClient, jobs: dict[str, str], action: str
) -> None:
    def answer(job_id: str) -> tuple[int, str]:
        method = "GET" if action == "inspect" else "POST"
        body: dict[str, str] | None = None if action == "inspect" else {}
        found = client.open(
            f"{PREFIX}/jobs/{action}/{job_id}", method=method, json=body
        )
        return found.status_code, found.text.replace(job_id, "ID")

    nowhere = "0" * len(jobs["bank"])
    assert answer(jobs["mail"])[0] == 200
    assert answer(jobs["bank"]) == answer(nowhere)
    assert answer(jobs["bank"])[0] == 404


def test_bulk_by_id_passes_over_jobs_elsewhere(
    client: FlaskClient, storage: Storage, jobs: dict[str, str]
) -> None:
    ids = [*jobs.values(), "none"]

    retried = client.post(f"{PREFIX}/jobs/retry", json={"ids": ids})
    deleted = client.post(f"{PREFIX}/jobs/delete", json={"ids": ids})

    assert retried.headers["X-Jobs-Skipped"] == "3"
    assert deleted.data == b"1"
    assert deleted.headers["X-Jobs-Not-Found"] == "2"
    assert storage.job_reader.get(jobs["bank"]).queue_name == "bank"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"queue_name": "mail"}, 200),
        ({"queue_name": "bank"}, 403),
        ({"queue_name": "new"}, 403),
        ({}, 403),
    ],
)
def test_enqueue_into_another_queue_is_403(
    client: FlaskClient, storage: Storage, body: dict[str, str], status: int
) -> None:
    """Without a name the router chooses, here ``default``."""
    answer = client.post(
        f"{PREFIX}/jobs/enqueue", json={"kind": "k", "payload": {}, **body}
    )

    assert answer.status_code == status
    assert {queue.name for queue in storage.queues.all()} == {"mail", "bank"}


def test_queues_and_their_settings(client: FlaskClient, storage: Storage) -> None:
    overview = client.get(f"{PREFIX}/queue/overview").get_json()
    own = client.post(f"{PREFIX}/queue/mail/paused", json={"paused": True})
    other = client.post(f"{PREFIX}/queue/bank/paused", json={"paused": True})

    assert [queue["name"] for queue in overview] == ["mail"]
    assert (own.status_code, other.status_code) == (200, 403)
    assert not storage.queues.get("bank").paused


def test_reads_that_name_one_queue_or_none(client: FlaskClient) -> None:
    """Naming none means the own queue, as long as there is only one."""
    for path, expected in (("/jobs/kinds", ["mail"]), ("/queue/processes", [])):
        url = PREFIX + path
        assert client.get(url).json == expected
        assert client.get(f"{url}?queue_name=mail").json == expected
        assert client.get(f"{url}?queue_name=bank").status_code == 403


def test_caller_with_several_queues_has_to_name_one(storage: Storage) -> None:
    client = client_with_token(storage, "viewer", ["mail", "bank"])

    answer = client.get(f"{PREFIX}/jobs/kinds")

    assert answer.status_code == 400
    assert answer.get_json()["field"] == "queue_name"
    assert client.get(f"{PREFIX}/jobs/kinds?queue_name=bank").json == ["bank"]


def test_failed_jobs_are_those_of_the_own_queue(
    client: FlaskClient, storage: Storage
) -> None:
    for name in ("mail", "bank"):
        run(storage, Failed("broken"), queue_name=name)

    answer = client.get(f"{PREFIX}/jobs/failed")

    assert [row["queue_name"] for row in answer.get_json()] == ["mail"]
    assert answer.headers["X-Total-Count"] == "1"


KEYED = {"kind": "k", "payload": {}, "queue_name": "mail", "dedupe_key": "one"}
SENT: list[tuple[str, dict[str, Any]]] = [
    ("/jobs/enqueue", KEYED),
    ("/v1/jobs", KEYED),
    ("/v1/jobs/bulk", {"items": [KEYED]}),
]


@pytest.mark.parametrize(("path", "body"), SENT)
@pytest.mark.parametrize("kind", ["k", "bank-kind"])
def test_a_dedupe_key_elsewhere_is_neither_met_nor_told(
    client: FlaskClient, storage: Storage, path: str, body: dict[str, Any], kind: str
) -> None:
    held = storage.jobs.enqueue(NewJob(kind, queue_name="bank", dedupe_key="one")).id

    first = client.post(PREFIX + path, json=body)
    again = client.post(PREFIX + path, json=body)

    assert first.status_code in {200, 201}
    assert held not in first.text + again.text
    found = storage.job_reader.page(JobFilter(queues=["mail"], kinds=["k"]), 9)
    assert [job.dedupe_key for job in found.rows] == ["one"]
    assert found.rows[0].id in first.text
    assert found.rows[0].id in again.text


@pytest.mark.parametrize(("path", "body"), SENT)
@pytest.mark.parametrize(
    "job",
    [
        NewJob("k", queue_name="mail", dedupe_key="one"),
        NewJob("bank-kind", queue_name="bank", dedupe_key="one"),
    ],
    ids=["same queue", "another"],
)
def test_a_key_that_a_limited_caller_takes_is_free_for_the_application(
    client: FlaskClient, storage: Storage, path: str, body: dict[str, Any], job: NewJob
) -> None:
    client.post(PREFIX + path, json=body)

    stored = storage.jobs.enqueue(job)

    assert not stored.is_deduped
    assert storage.jobs.enqueue(job).id == stored.id


def test_a_request_key_belongs_to_a_caller_with_its_queues(storage: Storage) -> None:
    """An authenticator may call several callers the same."""
    statuses = []
    for queues in (["mail"], ["bank"], ["mail", "bank"], None, ["bank"]):
        principal = Principal.with_role("shop", "operator", queues=queues)
        answer = client_of_principal(storage, principal).post(
            f"{PREFIX}/jobs/enqueue",
            json={"kind": "k", "payload": {}, "queue_name": (queues or ["mail"])[0]},
            headers={"Idempotency-Key": "first"},
        )
        statuses.append((answer.status_code, "Idempotency-Replayed" in answer.headers))

    assert statuses == [(200, False)] * 4 + [(200, True)]


def test_without_a_limit_everything_is_seen(
    storage: Storage, jobs: dict[str, str]
) -> None:
    client = client_with_token(storage, "operator")

    assert _list(client)[2] == len(jobs)
    assert len(client.get(f"{PREFIX}/queue/overview").get_json()) == len(jobs)
