"""The failures of a job: the newest with its traceback."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_forge_jobs.dashboard.job.failures import Failures, failures_of
from flask_forge_jobs.handlers.job_in_full import job_in_full
from flask_forge_jobs.handlers.job_record import JobRecord
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.claims import ErrorEntry
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import claim_one, enqueue, finish

TRACE = (
    'Traceback (most recent call last):\n  File "/a.py", line 1, in a\n    a()\nE: {}'
)


@pytest.fixture
def record(storage: Storage) -> JobRecord:
    """A job that has failed twice, and runs."""
    job_id = enqueue(storage)
    for text in ("E: one", "E: two"):
        outcome = Failed(text, traceback=TRACE.format(text))
        assert finish(storage, claim_one(storage), outcome, delay_s=0.0)
    claim_one(storage)
    return job_in_full(storage, job_id, redactor=Redactor()).record


def failures(record: JobRecord, run: int | None = None) -> Failures:
    made = failures_of(record, run)
    assert made is not None
    return made


def test_the_newest_is_open(record: JobRecord) -> None:
    made = failures(record)

    assert made.shown.message == "E: two"
    assert [frame.name for frame in made.shown.parts[0].frames] == ["a"]
    assert [(each.message, each.parts) for each in made.others] == [("E: one", ())]


def test_another_run_can_be_open(record: JobRecord) -> None:
    made = failures(record, 1)

    assert made.shown.message == "E: one"
    assert [each.message for each in made.all] == ["E: two", "E: one"]
    assert failures(record, 99).shown.message == "E: two"


def test_without_attempts_the_history_is_shown(record: JobRecord) -> None:
    history = (ErrorEntry("2026-11-30T14:00:00Z", 1, "E: old", "no traceback"),)

    row = replace(record.row, error_history=history)
    made = failures(replace(record, row=row, attempts=()))

    assert (made.shown.message, made.shown.run) == ("E: old", None)
    assert made.shown.parts[0].message == "no traceback"


def test_a_job_without_failures_has_none(record: JobRecord) -> None:
    row = replace(record.row, error_history=())

    assert failures_of(replace(record, row=row, attempts=())) is None


def test_a_long_message_is_cut_where_it_is_folded(record: JobRecord) -> None:
    attempts = [replace(record.attempts[0], error="x" * 900)]

    made = failures(replace(record, attempts=attempts))

    assert made.shown.summary == "x" * 300 + "…"
