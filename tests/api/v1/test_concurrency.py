"""The jobs that hold concurrency keys, over HTTP."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.v1 import concurrency
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.support.jobs import claim_one, enqueue

OWNER = "worker-1"
URL = f"{PREFIX}/v1/concurrency"


def hold(storage: Storage, key: str) -> str:
    """Let a job hold a key; return its id."""
    enqueue(storage, "send", queue_name="mail")
    job = claim_one(storage, owner=OWNER, queue_name="mail")
    assert storage.concurrency.acquire(job, OWNER, key, 9)
    return job.id


def test_keys_name_the_jobs_that_hold_them(
    client: FlaskClient, storage: Storage
) -> None:
    assert client.get(URL).json == []
    job_id = hold(storage, "account 7")

    answer = client.get(URL)

    assert answer.json is not None
    (key,) = answer.json
    (holder,) = key.pop("holders")
    assert key == {"key": "account 7", "waiting": 0}
    assert holder.pop("started_at").endswith("Z")
    assert holder == {
        "id": job_id, "queue_name": "mail", "kind": "send", "worker_id": OWNER,
    }  # fmt: skip
    assert answer.headers["X-Total-Count"] == "1"
    assert "X-Result-Truncated" not in answer.headers


def test_a_list_that_may_be_cut_says_so(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "MAX_HOLDERS", 2)
    hold(storage, "a")
    hold(storage, "a")

    assert client.get(URL).headers["X-Result-Truncated"] == "true"


def test_a_caller_of_some_queues_is_refused(storage: Storage) -> None:
    hold(storage, "a")
    limited = Principal.with_role("ann", "viewer", queues={"mail"})

    assert client_of_principal(storage, limited).get(URL).status_code == 403
