"""Exports of a filtered list: the same jobs, masked, in bounded pieces."""

from __future__ import annotations

import csv
import io
import json

import pytest

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.dashboard.jobs import export
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.support.jobs import having, job_with

OPERATOR = Principal.with_role("ops", "operator")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BATCH", 4)
    monkeypatch.setattr(export, "MAX_ROWS", 10)


def test_an_export_has_the_jobs_of_the_list(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob("send", queue_name="mail")] * 6)
    job_with(storage, JobStatus.DEAD)
    client = client_of_principal(storage, OPERATOR)

    table = client.get(
        f"{PREFIX}/jobs.csv?queue=mail&status=pending&sort=enqueued_at", buffered=True
    )
    array = client.get(f"{PREFIX}/jobs.json?status=dead", buffered=True)

    rows = list(csv.DictReader(io.StringIO(table.text)))
    stored = storage.job_reader.page(having(queue_name="mail"), 10).rows
    assert [row["id"] for row in rows] == [job.id for job in stored][::-1]
    assert table.content_type == "text/csv; charset=utf-8"
    assert table.headers["Content-Disposition"] == 'attachment; filename="jobs.csv"'
    (dead,) = json.loads(array.text)
    assert (dead["status"], dead["last_error"]) == ("dead", "no")
    assert array.content_type == "application/json"


def test_an_export_is_bounded(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob("send")] * 13)
    client = client_of_principal(storage, OPERATOR)

    rows = client.get(f"{PREFIX}/jobs.json", buffered=True).get_json()

    assert len({row["id"] for row in rows}) == len(rows) == 10


def test_an_export_has_no_payload_and_no_foreign_queue(storage: Storage) -> None:
    """P-07."""
    storage.jobs.enqueue_many(
        [
            NewJob("send", {"password": "s3cr3t"}, queue_name="mail"),
            NewJob("rotate", queue_name="vault"),
        ]
    )
    limited = Principal.with_role("ops", "operator", queues=["mail"])
    client = client_of_principal(storage, limited)

    for name in ("jobs.csv", "jobs.json"):
        answer = client.get(f"{PREFIX}/{name}", buffered=True)
        assert "s3cr3t" not in answer.text
        assert "vault" not in answer.text
        assert "send" in answer.text
        assert (
            client.get(f"{PREFIX}/{name}?queue=vault", buffered=True).status_code == 403
        )
        assert client.get(f"{PREFIX}/{name}?q=s3", buffered=True).status_code == 403


def test_a_caller_exports_one_list_at_a_time(storage: Storage) -> None:
    client = client_of_principal(storage, OPERATOR)

    under_way = client.get(f"{PREFIX}/jobs.csv")
    refused = client.get(f"{PREFIX}/jobs.csv", buffered=True)
    under_way.close()
    later = client.get(f"{PREFIX}/jobs.csv", buffered=True)

    assert [each.status_code for each in (under_way, refused, later)] == [200, 429, 200]


def test_a_caller_exports_the_next_list_once_it_has_the_first(storage: Storage) -> None:
    """A server sends the end of an answer before it closes it."""
    client = client_of_principal(storage, OPERATOR)

    first = client.get(f"{PREFIX}/jobs.csv")
    assert b"".join(first.iter_encoded())
    second = client.get(f"{PREFIX}/jobs.json", buffered=True)
    first.close()

    assert second.status_code == 200
