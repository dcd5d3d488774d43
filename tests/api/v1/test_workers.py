from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.model.workers import SlotReport, WorkerProcess
from flask_forge_jobs.storage import worker_reader
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.jobs import claim_one, enqueue

URL = f"{PREFIX}/v1/workers"


def beat(storage: Storage, worker_id: str, queue: str = "mail") -> str:
    """Show a worker that runs a job in one of two slots."""
    enqueue(storage, "send", queue_name=queue)
    job = claim_one(storage, owner=worker_id, queue_name=queue)
    slots = [SlotReport(f"{queue}-{n}-{worker_id}-0", queue) for n in range(2)]
    slots[0] = SlotReport(slots[0].slot_id, queue, job.id)
    process = WorkerProcess("0.1.0", "a1", 4121, 5_000_000)
    storage.workers.beat(worker_id, "mailer", [queue], slots, process=process)
    return job.id


def test_a_worker_and_its_slots(client: FlaskClient, storage: Storage) -> None:
    job_id = beat(storage, "w1")

    answer = client.get(URL)

    assert answer.status_code == 200
    assert answer.json is not None
    (row,) = answer.json["rows"]
    assert answer.json["counts"] == {"live": 1, "late": 0, "lost": 0}
    assert answer.json["next_cursor"] is None
    assert list(row) == [
        "worker_id", "worker_name", "state", "started_at", "heartbeat_at",
        "heartbeat_age_seconds", "lost_at", "version", "host", "pid", "use", "slots",
        "idle_slots", "by_queue", "running", "rescued",
    ]  # fmt: skip
    assert (row["state"], row["host"], row["pid"]) == ("live", "a1", 4121)
    assert row["by_queue"] == [{"queue_name": "mail", "slots": 2, "idle_slots": 1}]
    (run,) = row["running"]
    assert (run["job_id"], run["kind"], run["slot_id"]) == (
        job_id, "send", "mail-0-w1-0",
    )  # fmt: skip
    one = client.get(f"{URL}/w1")
    assert one.json is not None
    assert (one.json["slots"], one.json["running"][0]["job_id"]) == (2, job_id)


def test_pages_have_a_link(client: FlaskClient, storage: Storage) -> None:
    for name in ("a", "b"):
        beat(storage, name)

    answer = client.get(f"{URL}?limit=1")

    assert answer.json is not None
    cursor = answer.json["next_cursor"]
    assert answer.headers["Link"] == f'<{URL}?limit=1&cursor={cursor}>; rel="next"'
    rest = client.get(f"{URL}?limit=1&cursor={cursor}").json
    assert rest is not None
    assert [row["worker_id"] for row in rest["rows"]] == ["a"]


def test_too_many_runs_are_marked(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_reader, "MAX_RUNS", 1)
    beat(storage, "a")

    assert client.get(URL).headers["X-Result-Truncated"] == "true"


def test_an_unknown_worker_is_404(client: FlaskClient) -> None:
    answer = client.get(f"{URL}/nobody")

    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["kind"] == "not_found"


def test_a_limited_caller_learns_nothing_of_other_queues(storage: Storage) -> None:
    mail = client_with_token(storage, "viewer", ["mail"])
    beat(storage, "w1")
    beat(storage, "canary", "bank-canary")

    answer = mail.get(URL)

    assert answer.json is not None
    assert [row["worker_id"] for row in answer.json["rows"]] == ["w1"]
    assert answer.json["counts"]["live"] == 1
    assert "canary" not in answer.text
    assert mail.get(f"{URL}/canary").status_code == 404
    assert mail.get(f"{URL}?queue=bank-canary").status_code == 403
    own = mail.get(f"{URL}?queue=mail").json
    assert own is not None
    assert [row["worker_id"] for row in own["rows"]] == ["w1"]
