from __future__ import annotations

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.jobs import enqueue

URL = f"{PREFIX}/v1/attention"


def test_nothing_needs_anybody(storage: Storage) -> None:
    storage.queues.ensure("mail")
    storage.workers.beat("W", "worker-1", ["mail"], [])

    answer = mount(storage).get(URL)

    assert answer.status_code == 200
    assert answer.json is not None
    assert list(answer.json) == ["at", "summary", "sentences", "left_out"]
    assert answer.json["summary"]["code"] == "nothing_needs_you"
    assert answer.json["summary"]["evidence"]["workers"] == 1
    assert (answer.json["sentences"], answer.json["left_out"]) == ([], 0)


def test_what_needs_somebody_can_be_done_at_once(storage: Storage) -> None:
    enqueue(storage, queue_name="mail")
    storage.queues.change("mail", {"paused": True})
    client = mount(storage)

    [sentence] = client.get(URL).json["sentences"]  # type: ignore[index]  # an object

    assert list(sentence) == ["code", "text", "evidence", "action"]
    assert sentence["code"] == "queue_paused"
    action = sentence["action"]
    done = client.open(
        f"{PREFIX}{action['path']}", method=action["method"], json=action["body"]
    )
    assert done.json == {"changed": 1}


def test_a_limited_caller_learns_nothing_of_other_queues(storage: Storage) -> None:
    for name in ("mail", "bank"):
        enqueue(storage, kind=f"{name}-kind", queue_name=name)
    storage.workers.beat("bank-worker", "bank-worker", ["bank"], [])

    answer = client_with_token(storage, "viewer", ["mail"]).get(URL)

    assert "bank" not in answer.text
    assert answer.json is not None
    assert [each["code"] for each in answer.json["sentences"]] == ["queue_unserved"]
    assert answer.json["summary"]["evidence"]["counts"]["pending"] == 1
    assert answer.json["summary"]["evidence"]["workers"] == 0
