"""Rows byte for byte, and requests as the handlers' arguments."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.jobs import EnqueueRequest, JobRow, ListRequest
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
    assert encode(dumper(JobRow())(JOB)).decode() == (
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

    loaded = ListRequest().load(body)

    wanted = JobFilter(queues=["mail"], enqueued_from=EXACT)
    assert loaded == {"wanted": wanted, "limit": 50, "offset": 0}


def test_list_request_without_a_filter_wants_everything() -> None:
    loaded = ListRequest().load({"limit": 1, "offset": 2})

    assert loaded == {"wanted": JobFilter(), "limit": 1, "offset": 2}


def test_enqueue_request_fills_in_what_is_absent() -> None:
    loaded = EnqueueRequest().load({"kind": "k", "payload": None})

    assert loaded == {
        "kind": "k",
        "payload": None,
        "queue_name": None,
        "dedupe_key": None,
        "run_at": None,
        "priority": None,
        "max_attempts": None,
    }
