"""Rows become models, also with damaged or rare values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, datetime

import pytest

from flask_forge_jobs.errors import StorageCorruptError
from flask_forge_jobs.model.claims import ErrorEntry
from flask_forge_jobs.model.jobs import Job, JobStatus, JobSummary
from flask_forge_jobs.model.workers import Slot, Worker
from flask_forge_jobs.storage.columns import JOB, SUMMARY
from flask_forge_jobs.storage.rows import (
    FOREVER_US,
    error_history_from_text,
    job_from_row,
    queue_from_row,
    slot_from_row,
    summary_from_row,
    within_micros,
    worker_from_row,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Who paused the queue or cooled it down, and who served it last.
NO_NOTES = (None,) * 9


def test_a_job_has_every_column() -> None:
    row = {
        "id": "id", "queue_name": "queue", "kind": "kind", "payload": "{}",
        "status": "failed", "priority": 1, "attempts": 2, "max_attempts": 3,
        "enqueued_at": 0, "scheduled_at": 0, "started_at": 0, "completed_at": None,
        "last_error": "error", "slot_id": "owner", "heartbeat_at": 0,
        "error_history": '[{"at":"x","attempt":1,"message":"m"}]',
        "dedupe_key": "key", "cancel_requested_at": 0, "throttle_attempts": 4,
        "crashes": 5, "timeout_s": 1.5, "result": "result", "result_error": "not kept",
        "progress": "progress", "schedule_name": "nightly", "carried": "{}",
        "signature": "error", "batch_id": "batch", "start_at": 0,
    }  # fmt: skip
    decoded = {
        "status": JobStatus.FAILED, "enqueued_at": EPOCH, "scheduled_at": EPOCH,
        "started_at": EPOCH, "heartbeat_at": EPOCH, "cancel_requested_at": EPOCH,
        "start_at": EPOCH,
        "error_history": (ErrorEntry("x", 1, "m"),),
    }  # fmt: skip

    job = job_from_row(tuple(row[name] for name in JOB))

    assert asdict(job) == asdict(Job(**(row | decoded)))  # type: ignore[arg-type]  # values of all types


def test_a_summary_is_as_its_class_makes_it() -> None:
    facts = {
        "id": "id", "queue_name": "queue", "kind": "kind", "status": "done",
        "priority": 1, "attempts": 2, "max_attempts": 3, "enqueued_at": 0,
        "scheduled_at": 0, "started_at": 0, "completed_at": 0, "last_error": "error",
        "slot_id": "owner", "dedupe_key": "key", "heartbeat_at": None,
        "cancel_requested_at": None, "progress": "progress",
    }  # fmt: skip
    names = ("enqueued_at", "scheduled_at", "started_at", "completed_at")
    decoded = {"status": JobStatus.DONE, **dict.fromkeys(names, EPOCH)}

    job = summary_from_row(tuple(facts[name] for name in SUMMARY))

    assert job == JobSummary(**(facts | decoded))  # type: ignore[arg-type]  # values of all types
    with pytest.raises(FrozenInstanceError):
        job.kind = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "damage", [{3: "peNding"}, {7: "soon"}, {7: 2**62}, {7: None}], ids=str
)
def test_a_damaged_row_is_named(damage: dict[int, object]) -> None:
    row: list[object] = [
        "job-7", "queue", "kind", "pending", 1, 2, 3, 0, 0, None, None, None, None,
        None, None,
    ]  # fmt: skip
    for column, value in damage.items():
        row[column] = value

    with pytest.raises(StorageCorruptError, match="the row of job job-7 is damaged"):
        summary_from_row(tuple(row))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "null",
        "3",
        "{}",
        "[3]",
        '[{"at":"x"}]',
        "[[]]",
        '{"a":1}',
        '"ab"',
    ],
)
def test_a_damaged_history_counts_as_empty(text: str) -> None:
    assert error_history_from_text(text) == ()


@pytest.mark.parametrize(("yes", "no"), [(1, 0), (True, False)])
def test_both_ways_to_store_a_boolean_are_read(yes: object, no: object) -> None:
    queue = queue_from_row(
        ("mail", 3, yes, 7, 30, no, 60, 1800, 2, 0, 0, None, *NO_NOTES)
    )

    assert (queue.paused, queue.backoff_enabled) == (True, False)
    assert (queue.throttled_until, queue.updated_at) == (EPOCH, EPOCH)
    assert queue.max_pending is None
    assert (
        queue_from_row(
            ("mail", 3, no, 7, 30, yes, 60, 1800, 2, None, 0, 9, *NO_NOTES)
        ).paused
        is False
    )


def test_a_slot_and_a_worker_have_every_column() -> None:
    assert slot_from_row(("id", "queue", "host", 0, 0, None)) == Slot(
        "id", "queue", "host", EPOCH, EPOCH
    )
    assert worker_from_row(("host", "name", "a,b", 0)) == Worker(
        "host", "name", ("a", "b"), EPOCH
    )
    assert worker_from_row(("host", None, None, 0)).queues == ()
    assert worker_from_row(("host", None, "", 0)).queues == ()


def test_an_age_without_a_bound_is_longer_than_any() -> None:
    assert within_micros(1.5) == 1_500_000
    assert within_micros(None) == FOREVER_US
