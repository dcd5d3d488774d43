"""Everything that the page of a job shows, on both backends."""

from __future__ import annotations

import pytest

from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.handlers.explain import explain_job
from flask_forge_jobs.handlers.job_in_full import job_in_full
from flask_forge_jobs.handlers.job_record import read_job
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.masking import REDACTED
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import claim_one, enqueue, finish, job_with


@pytest.mark.parametrize("status", list(JobStatus))
def test_it_is_what_the_parts_are(storage: Storage, status: JobStatus) -> None:
    job_id = job_with(storage, status)

    full = job_in_full(storage, job_id, redactor=Redactor())

    assert full.record == read_job(storage, job_id, redactor=Redactor())
    assert full.why.code == explain_job(storage, job_id).code


def test_a_job_keeps_its_key_and_secrets_are_masked(storage: Storage) -> None:
    new = NewJob("k", {"token": "s3cret"}, dedupe_key="order-1", priority=3)
    job_id = storage.jobs.enqueue(new).id

    record = job_in_full(storage, job_id, redactor=Redactor()).record

    assert record.payload == {"token": REDACTED}
    assert (record.row.dedupe_key, record.row.priority) == ("order-1", 3)
    assert record.redacted


def test_attempts_are_read_along(storage: Storage) -> None:
    job_id = enqueue(storage)
    assert finish(storage, claim_one(storage), Failed("no"), delay_s=0.0)
    claim_one(storage)

    record = job_in_full(storage, job_id, redactor=Redactor()).record

    assert [(each.attempt, each.ending) for each in record.attempts] == [
        (1, "failed"), (2, "running"),
    ]  # fmt: skip


@pytest.mark.parametrize("job_id", ["01KB9V6W3E5Q8Y4N2M7T6R1W0X", "x\x00", "ä" * 500])
def test_a_missing_job_is_not_found(storage: Storage, job_id: str) -> None:
    with pytest.raises(JobNotFoundError):
        job_in_full(storage, job_id, redactor=Redactor())


def test_a_job_of_another_queue_is_not_found(storage: Storage) -> None:
    job_id = enqueue(storage, queue_name="mail")

    full = job_in_full(storage, job_id, redactor=Redactor(), queues=["mail"])

    assert full.record.row.id == job_id
    with pytest.raises(JobNotFoundError):
        job_in_full(storage, job_id, redactor=Redactor(), queues=["other"])
