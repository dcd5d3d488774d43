"""H35 and H36: text of strangers in answers and in metrics."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.failures import describe_failure
from tests.api.hazards.inputs import lines
from tests.api.mounting import PREFIX
from tests.support.jobs import run

TEXTS = [
    *lines("xss.txt"), "a\u2028b", "a\u2029b", "\x1b[31mred", "a\r\nX-Evil: x=1",
    "\u202etxt.exe", "\ufeff", "💥", "é",
]  # fmt: skip
LABELS = ('quo"te', "back\\slash", "{}", 'a{b="c"}', "a=b", "é", "💥", "a\\nb", "le")


@pytest.mark.parametrize("text", TEXTS)
def test_H35_text_comes_back_as_json_and_as_nothing_else(
    client: FlaskClient, storage: Storage, text: str
) -> None:
    plain = "".join(c for c in text if c.isprintable() and c not in ",/?#%").strip()
    name = plain or "x"
    job_id = storage.jobs.enqueue(
        NewJob(name, dump({text: text}), queue_name=name, dedupe_key=text)
    ).id
    run(storage, Failed(text), queue_name=name)

    for path in (
        f"/jobs/inspect/{job_id}", "/jobs/failed", "/queue/overview", "/jobs/kinds",
        f"/v1/jobs/{job_id}", "/v1/jobs", "/v1/errors", "/v1/events", "/v1/kinds",
    ):  # fmt: skip
        answer = client.get(f"{PREFIX}{path}")
        assert answer.status_code in {200, 400}, path
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "X-Evil" not in answer.headers
        json.loads(answer.data)
    detail = client.get(f"{PREFIX}/jobs/inspect/{job_id}").json
    assert detail is not None
    assert detail["payload"] == {text: text}
    assert detail["row"]["kind"] == detail["row"]["queue_name"] == name
    assert detail["row"]["dedupe_key"] == text
    assert detail["error_history"][0]["message"] == detail["row"]["last_error"]


def test_H35_an_endless_error_is_cut(client: FlaskClient, storage: Storage) -> None:
    job_id = storage.jobs.enqueue(NewJob("k", queue_name="mail", priority=-1)).id
    error = RuntimeError("x" * 5_000_000)
    run(storage, Failed(describe_failure(error)), queue_name="mail")

    answer = client.get(f"{PREFIX}/jobs/inspect/{job_id}")

    assert len(answer.data) < 50_000
    assert answer.json is not None
    assert "xxx" in answer.json["row"]["last_error"]


def test_H35_a_message_does_not_repeat_an_endless_value(client: FlaskClient) -> None:
    answer = client.post(
        f"{PREFIX}/jobs/enqueue", json={"kind": "k" * 1_000_000, "payload": {}}
    )

    assert answer.status_code == 400
    assert len(answer.data) < 1000


def test_H36_any_queue_name_makes_good_metrics(
    client: FlaskClient, storage: Storage
) -> None:
    for name in LABELS:
        storage.jobs.enqueue(NewJob("k", queue_name=name))

    text = client.get(f"{PREFIX}/metrics").text
    families = {each.name: each for each in text_string_to_metric_families(text)}

    queues = {
        sample.labels["queue"] for sample in families["queue_pending_jobs"].samples
    }
    assert set(LABELS) <= queues
    for family in families.values():
        for each in family.samples:
            assert set(each.labels) <= {
                "queue", "kind", "le", "route", "method", "status", "version", "python",
                "backend", "code", "outcome", "state",
            }  # fmt: skip
