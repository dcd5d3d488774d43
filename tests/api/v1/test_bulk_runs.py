"""Bulk runs over HTTP."""

from __future__ import annotations

import pytest

from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.handlers.bulk_runs import BulkRunner
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage import bulk_runs
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.support.backends import each_backend
from tests.support.jobs import having
from tests.support.sql import Sql
from tests.support.waiting import wait_until

RUNS = f"{PREFIX}/v1/bulk-runs"
ADMIN = Principal.with_role("root", "admin")


def enqueue(storage: Storage, count: int = 3, queue_name: str = "mail") -> None:
    storage.jobs.enqueue_many([NewJob("send", queue_name=queue_name)] * count)


def test_a_run_goes_on_after_its_request(storage: Storage) -> None:
    enqueue(storage, 450)
    client = client_of_principal(storage, ADMIN)

    answer = client.post(
        RUNS, json={"action": "cancel", "filter": {"queues": ["mail"]}, "expected": 450}
    )

    assert answer.status_code == 202
    begun = answer.get_json()
    assert (begun["state"], begun["matched"]) == ("running", 450)
    assert begun["filter"] == {"queues": ["mail"]}
    path = f"{RUNS}/{begun['id']}"
    wait_until(lambda: client.get(path).get_json()["state"] == "done", "it is done")
    ended = client.get(path).get_json()
    assert (ended["changed"], ended["skipped"], ended["error"]) == (450, 0, None)
    assert storage.job_reader.total(having(JobStatus.DEAD)) == 450
    (listed,) = client.get(RUNS).get_json()
    assert listed == ended
    entries = storage.audit.page(AuditFilter(target=begun["id"]), 100)
    assert {entry.record.actor for entry in entries} == {"user:root"}
    batches = [e.record for e in entries if e.record.action == "jobs_act"]
    assert sum(record.changed for record in batches) == 450


@each_backend
def test_a_run_of_an_impossible_id_is_not_there(storage: Storage) -> None:
    client = client_of_principal(storage, ADMIN)

    assert client.get(f"{RUNS}/a%00b").status_code == 404
    assert client.post(f"{RUNS}/a%00b/stop").status_code == 404
    assert client.get(f"{PREFIX}/bulk/a%00b").status_code == 404


@pytest.fixture
def _nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BulkRunner, "start", lambda *_: None)


@pytest.mark.usefixtures("_nobody_works")
def test_too_many_runs_are_refused(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_runs, "MAX_OF_ACTOR", 1)
    client = client_of_principal(storage, ADMIN)
    asked = {"action": "delete", "all": True}

    answers = [client.post(RUNS, json=asked) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 409]
    assert answers[1].get_json() == {
        "kind": "conflict",
        "msg": "1 bulk runs of this caller have not ended, the most at a time: "
        "stop one, or wait for one",
    }


@pytest.mark.usefixtures("_nobody_works")
def test_a_run_is_stopped(storage: Storage) -> None:
    enqueue(storage)
    client = client_of_principal(storage, ADMIN)
    run = client.post(RUNS, json={"action": "delete", "all": True}).get_json()

    answer = client.post(f"{RUNS}/{run['id']}/stop")

    assert answer.get_json()["state"] == "stopped"
    assert client.post(f"{RUNS}/{run['id']}/stop").status_code == 200
    assert storage.job_reader.total(having()) == 3


@pytest.mark.usefixtures("_nobody_works")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"action": "delete"}, 400),
        ({"action": "delete", "filter": {}}, 400),
        ({"action": "reschedule", "all": True}, 400),
        ({"action": "delete", "all": True, "ids": ["x"]}, 400),
        ({"action": "delete", "all": True, "expected": 100}, 409),
    ],
)
def test_a_run_is_refused(
    storage: Storage, body: dict[str, object], status: int
) -> None:
    enqueue(storage)
    client = client_of_principal(storage, ADMIN)

    assert client.post(RUNS, json=body).status_code == status
    assert storage.bulk_runs.newest(5) == []


@pytest.mark.usefixtures("_nobody_works")
def test_an_end_of_jobs_needs_its_permission(storage: Storage) -> None:
    enqueue(storage)
    may = frozenset({Permission.READ, Permission.JOBS_RETRY})
    limited = client_of_principal(storage, Principal("ops", may))
    admin = client_of_principal(storage, ADMIN)
    run = admin.post(RUNS, json={"action": "delete", "all": True}).get_json()

    refused = limited.post(RUNS, json={"action": "delete", "all": True})

    assert refused.status_code == 403
    assert limited.post(f"{RUNS}/{run['id']}/stop").status_code == 403
    allowed = limited.post(RUNS, json={"action": "run_now", "all": True})
    assert allowed.status_code == 202


@pytest.mark.usefixtures("_nobody_works")
def test_a_limited_caller_has_runs_of_its_queues_only(storage: Storage) -> None:
    enqueue(storage)
    enqueue(storage, 4, "vault")
    admin = client_of_principal(storage, ADMIN)
    mail = client_of_principal(
        storage, Principal.with_role("ops", "operator", queues=["mail"])
    )
    every = admin.post(RUNS, json={"action": "delete", "all": True}).get_json()

    own = mail.post(RUNS, json={"action": "delete", "all": True}).get_json()

    assert (every["matched"], own["matched"]) == (7, 3)
    assert own["filter"] == {"queues": ["mail"]}
    assert [run["id"] for run in mail.get(RUNS).get_json()] == [own["id"]]
    for path in ("", "/stop"):
        method = "POST" if path else "GET"
        answer = mail.open(f"{RUNS}/{every['id']}{path}", method=method)
        assert answer.status_code == 404


def test_who_asks_about_a_lapsed_run_goes_on_with_it(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue(storage)
    client = client_of_principal(storage, ADMIN)
    with monkeypatch.context() as patch:
        patch.setattr(BulkRunner, "start", lambda *_: None)
        run = client.post(RUNS, json={"action": "delete", "all": True}).get_json()
    sql.run("UPDATE forge_bulk_run SET expires_at = 0, holder = 'a dead process'")

    path = f"{RUNS}/{run['id']}"

    wait_until(lambda: client.get(path).get_json()["state"] == "done", "it is done")
    assert storage.job_reader.total(having()) == 0


@pytest.mark.usefixtures("_nobody_works")
def test_a_search_in_payloads_is_shown_to_those_who_may_search(
    storage: Storage,
) -> None:
    secret = "4111-1111"
    storage.jobs.enqueue(NewJob("pay", f'{{"card": "{secret}"}}', queue_name="mail"))
    begun = client_of_principal(storage, ADMIN).post(
        RUNS, json={"action": "retry", "filter": {"payload_search": secret}}
    )
    path = f"{RUNS}/{begun.get_json()['id']}"
    permissions = frozenset({Permission.READ, Permission.JOBS_RETRY})
    client = client_of_principal(storage, Principal("ann", permissions))

    answers = [client.get(RUNS), client.get(path), client.post(f"{path}/stop")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert not any(secret in answer.text for answer in answers)
    assert client_of_principal(storage, ADMIN).get(path).get_json()["filter"] == {
        "payload_search": secret
    }
