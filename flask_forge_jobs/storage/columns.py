"""The columns of jobs, queues and schedules, once: statements are made of them.

A column that is only stored and shown has a field of :class:`.NewJob` and a line of
:data:`NEW_JOB`, a field of :class:`.Job`, and its place in the tables and in the
function ``forge_enqueue`` of PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter

from flask_forge_jobs.model.bounds import DEFAULT_QUEUE
from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition
from flask_forge_jobs.model.evidence import JobFacts
from flask_forge_jobs.model.instants import MAX_INSTANT_US
from flask_forge_jobs.model.jobs import (
    FINAL,
    UNFINISHED,
    UNSUCCESSFUL,
    WAITING,
    Job,
    JobStatus,
    JobSummary,
    NewJob,
)
from flask_forge_jobs.model.queues import QueueSettings

Value = str | int | float | None

# Parameters of a new job with their types, in the order of forge_enqueue.
NEW_JOB = {
    "id": "text",
    "queue_name": "text",
    "kind": "text",
    "payload": "text",
    "priority": "integer",
    "run_at": "bigint",
    "max_attempts": "integer",
    "dedupe_key": "text",
    "timeout_s": "double precision",
    "schedule_name": "text",
    "carried": "text",
}
# Values that the inserts compute; the others are copied from the fields of the same
# names.
_MADE = ("id", "queue_name", "dedupe_key", "enqueued_at", "scheduled_at", "deferred")
_COPIED = tuple(name for name in NEW_JOB if name not in (*_MADE, "run_at"))
_GIVEN = ("id", "queue_name", "dedupe_key", "run_at", *_COPIED)
_copied = attrgetter(*_COPIED)
# A bulk insert leaves out columns without values: each column of a row costs time.
_APPENDED = tuple(name for name in _COPIED if name != "schedule_name")
_appended = attrgetter(*_APPENDED)


def new_parameters(job: NewJob, job_id: str) -> dict[str, Value]:
    """Return the parameters of the statements that store a new job."""
    # A property costs a call, and most jobs start now and have no key.
    made = (
        job_id,
        job.queue_name or DEFAULT_QUEUE,
        None if job.dedupe_key is None else job.stored_key,
        job.start_us if job.run_at or job.delay is not None else None,
    )
    return dict(zip(_GIVEN, made + _copied(job)))  # noqa: B905  # strict costs time


def new_row(job: NewJob, job_id: str, due_us: int, now_us: int) -> tuple[Value, ...]:
    """Return a new job without a key or a schedule as a row of ``append_jobs``."""
    queue_name = job.queue_name or DEFAULT_QUEUE
    made = (job_id, queue_name, now_us, due_us, due_us > now_us)
    return made + _appended(job)


def tied_row(
    job: NewJob,
    job_id: str,
    due_us: int,
    now_us: int,
    batch_id: str | None = None,
    *,
    is_awaited: bool = False,
) -> tuple[Value, ...]:
    """Return a job as a row of ``append_tied_jobs``; one that waits starts later."""
    ties = AWAITED if is_awaited else None
    tied: tuple[Value, ...] = (batch_id or job.batch_id, None, ties)
    if job.after:
        tied = (tied[0], due_us, (ties or 0) | WAITED)
        due_us = MAX_INSTANT_US
    return new_row(job, job_id, due_us, now_us) + tied


AWAITED, WAITED = 1, 2
"""Bits of the column ``ties``: others wait for the job; it has waited for others."""

JOB = tuple(each.name for each in fields(Job))
"""The columns of a job as read, which are its fields."""
SUMMARY = tuple(each.name for each in fields(JobSummary))
_FACTS = tuple(each.name for each in fields(JobFacts))
_QUEUE = tuple(each.name for each in fields(QueueSettings))
SCHEDULE_DEFINITION = tuple(each.name for each in fields(ScheduleDefinition))
"""The first columns of a schedule as read; the others are its own fields."""
SCHEDULE = (*SCHEDULE_DEFINITION, *(each.name for each in fields(Schedule)[1:]))


# Served by the primary key; no job without links has any.
_WAITING_FOR = (
    "(SELECT COUNT(*) FROM forge_link WHERE child_id = forge_job.id AND ended IS NULL)"
)
_RUNNING_PROGRESS = "CASE WHEN status = 'in_progress' THEN progress END"


def _shown(names: tuple[str, ...], **instead: str) -> str:
    instead["slot_id"] = "/* use runner */"
    return _list(instead.get(name, name) for name in names)


def _list(texts: Iterable[str]) -> str:
    return ", ".join(texts)


_ROW = ("id", "queue_name", "enqueued_at", "scheduled_at", "deferred", *_APPENDED)
_TIED_ROW = (*_ROW, "batch_id", "start_at", "ties")
FRAGMENTS = {
    "new_job_columns": _list(_MADE + _COPIED),
    "row_columns": _list(_ROW),
    "row_marks": _list("?" for _ in _ROW),
    "tied_row_columns": _list(_TIED_ROW),
    "tied_row_marks": _list("?" for _ in _TIED_ROW),
    "new_job_parameters": _list(f":{name}" for name in NEW_JOB),
    "new_job_rows": f"/* rows v: {_list(map(' '.join, NEW_JOB.items()))} */",
    "copied_parameters": _list(f":{name}" for name in _COPIED),
    "copied_of_v": _list(f"v.{name}" for name in _COPIED),
    "job_columns": _shown(JOB),
    "fact_columns": _shown(_FACTS, waiting_for=_WAITING_FOR),
    "summary_columns": _shown(SUMMARY, progress=_RUNNING_PROGRESS),
    "queue_columns": _list(_QUEUE),
    "schedule_columns": _list(SCHEDULE),
    "waiting": _list(f"'{status}'" for status in WAITING),
    "unfinished": _list(f"'{status}'" for status in UNFINISHED),
    "unsuccessful": _list(f"'{status}'" for status in UNSUCCESSFUL),
    "final": _list(f"'{status}'" for status in FINAL),
    # In one pass; grouping would sort on SQLite.
    "number_by_status": _list(
        f"COUNT(*) FILTER (WHERE {condition})"
        for condition in (
            *(f"status = '{status}'" for status in JobStatus),
            "status = 'pending' AND scheduled_at > :now",
        )
    ),
}
"""What ``/* use its_name */`` inserts into statements."""
