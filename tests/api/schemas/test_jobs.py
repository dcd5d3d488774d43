"""Rows byte for byte, and requests as the handlers' arguments."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.jobs import (
    CancelRequestSchema,
    EnqueueRequestSchema,
    JobRowSchema,
    JobsQuerySchema,
    ListRequestSchema,
    RescheduleRequestSchema,
)
from flask_forge_jobs.model.jobs import Job, JobFilter, JobStatus

AT = datetime(2026, 9, 16, 9, 30, 11, 402_000, tzinfo=UTC)
EXACT = AT.replace(microsecond=0)
MICROS = AT.replace(microsecond=120_045)
JOB = Job(
    id="J",
    queue_name="mail",
    kind="send",
    payload="{}",
    status=JobStatus.FAILED,
    priority=-3,
    attempts=2,
    max_attempts=5,
    enqueued_at=AT,
    scheduled_at=EXACT,
    started_at=MICROS,
    last_error='a "quoted"\nline',
)


def test_job_row_has_exactly_the_references_bytes() -> None:
    assert encode(dumper(JobRowSchema())(JOB)).decode() == (
        '{"id":"J","queue_name":"mail","kind":"send","status":"failed","priority":-3,'
        '"attempts":2,"max_attempts":5,"enqueued_at":"2026-09-16T09:30:11.402Z",'
        '"scheduled_at":"2026-09-16T09:30:11Z","started_at":'
        '"2026-09-16T09:30:11.120045Z","completed_at":null,"last_error":'
        '"a \\"quoted\\"\\nline","process_id":null,"dedupe_key":null,'
        '"heartbeat_at":null}'
    )


def test_list_request_makes_the_models_filter() -> None:
    body = {
        "filter": {"queues": ["mail"], "from": "2026-09-16T09:30:11+00:00"},
        "limit": 50,
        "offset": 0,
    }

    loaded = ListRequestSchema().load(body)

    job_filter = JobFilter(queues=["mail"], enqueued_from=EXACT)
    assert loaded == {"job_filter": job_filter, "limit": 50, "offset": 0}


def test_list_request_without_a_filter_wants_everything() -> None:
    loaded = ListRequestSchema().load({"limit": 1, "offset": 2})

    assert loaded == {"job_filter": JobFilter(), "limit": 1, "offset": 2}


def test_enqueue_request_fills_in_what_is_absent() -> None:
    loaded = EnqueueRequestSchema().load({"kind": "k", "payload": None})

    assert loaded == {
        "kind": "k",
        "payload": None,
        "queue_name": None,
        "dedupe_key": None,
        "run_at": None,
        "priority": None,
        "max_attempts": None,
    }


def test_jobs_query_makes_the_models_filter() -> None:
    loaded = JobsQuerySchema().load(
        {"status": ["done"], "q": "x", "cron": "nightly", "min_attempts": "2"}
    )

    assert loaded == {
        "job_filter": JobFilter(
            statuses=["done"],  # type: ignore[list-item]  # the handler parses it
            payload_search="x",
            schedule_name="nightly",
            min_attempts=2,
        ),
        "sort": "-enqueued_at",
        "limit": 50,
        "cursor": None,
        "count": "exact",
    }


def test_a_change_may_leave_everything_out() -> None:
    assert CancelRequestSchema().load({}) == {"reason": None}
    assert RescheduleRequestSchema().load({"run_at": None}) == {
        "run_at": None,
        "priority": None,
        "queue_name": None,
    }


def test_unknown_keys_of_a_change_are_refused() -> None:
    with pytest.raises(ValidationError):
        CancelRequestSchema().load({"because": "x"})
