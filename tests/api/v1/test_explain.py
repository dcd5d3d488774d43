from __future__ import annotations

from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import ChangeNote
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token

URL = f"{PREFIX}/v1"


def test_a_job_and_its_queue_are_explained(storage: Storage) -> None:
    client = client_with_token(storage, "viewer", ["mail"])
    job_id = storage.jobs.enqueue(NewJob("send", queue_name="mail")).id
    note = ChangeNote("ann", "deploy")
    storage.queues.change("mail", {"paused": True}, note=note)

    of_job = client.get(f"{URL}/jobs/{job_id}/explain").json
    of_queue = client.get(f"{URL}/queues/mail/explain").json

    for sentence in (of_job, of_queue):
        assert sentence is not None
        assert list(sentence) == ["code", "text", "evidence", "action"]
        assert sentence["code"] == "queue_paused"
        assert sentence["text"].startswith("mail is paused by ann, “deploy”, for ")
        assert sentence["evidence"]["paused_at"].endswith("Z")
        assert sentence["action"] == {
            "method": "POST",
            "path": "/v1/queues/actions",
            "body": {"action": "resume", "queues": ["mail"]},
            "label": "Resume",
        }


def test_what_is_in_another_queue_is_not_explained(storage: Storage) -> None:
    client = client_with_token(storage, "viewer", ["mail"])
    job_id = storage.jobs.enqueue(NewJob("send", queue_name="bank")).id

    assert client.get(f"{URL}/jobs/{job_id}/explain").status_code == 404
    assert client.get(f"{URL}/jobs/none/explain").status_code == 404
    assert client.get(f"{URL}/queues/bank/explain").status_code == 403
    assert client.get(f"{URL}/queues/mail/explain").status_code == 404
