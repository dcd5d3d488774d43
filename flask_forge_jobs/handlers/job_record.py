"""Reads one job with everything that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.handlers.jobs import (
    JobDetail,
    json_value,
    masked_text,
    payload_value,
    require_possible_id,
)
from flask_forge_jobs.handlers.redaction import Redactor, Unmasked
from flask_forge_jobs.model.attempts import Attempt, with_steps
from flask_forge_jobs.model.instants import whole_milliseconds
from flask_forge_jobs.model.jobs import Job
from flask_forge_jobs.model.origins import is_of_task
from flask_forge_jobs.model.steps import Step, StepsOfJob
from flask_forge_jobs.storage.base import Storage


@dataclass(frozen=True, slots=True)
class JobRecord(JobDetail):
    """One job with everything that is known of it; secrets are masked."""

    # Of the stored text.
    payload_bytes: int
    # Consecutive throttles.
    throttle_attempts: int
    cancel_requested_at: datetime | None
    # JSON text, see flask_forge_jobs.model.progress.
    progress: str | None
    result: object
    # Why the result is not stored.
    result_error: str | None
    # From its due time to the last start; None before that and until a retry starts.
    wait_ms: int | None
    # From the last start to the end; None before that.
    run_ms: int | None
    # Whether a secret is masked that is stored as it is.
    redacted: bool
    # The last 20 frames of the task's last exception.
    traceback: str | None
    # The first and the newest 30, the oldest first; the one under way comes last.
    attempts: Sequence[Attempt]
    # That of the last failure; None without one, or if the job was cancelled.
    signature: str | None
    # Seconds one attempt may take; None means no limit of its own.
    timeout_s: float | None
    # How often it was rescued from a lost worker.
    crashes: int
    # The schedule that made it.
    schedule_name: str | None
    # Its source, such as "POST /signup"; None if unknown.
    origin: str | None
    # The batch that counts it, or None.
    batch_id: str | None
    # Its earliest start while it waits for other jobs; None if it does not.
    start_at: datetime | None
    # How many steps it has; those of each attempt are its own, at most 100 in all.
    step_count: int
    # The value that its task has saved last, and when; None without one.
    checkpoint: Step | None


def read_job(
    storage: Storage, job_id: str, *, redactor: Redactor, is_limited: bool = False
) -> JobRecord:
    """Return one job with payload, attempts, progress, result and timings.

    Callers that are limited to some queues see no task as its origin, since the task
    may belong to another queue.
    """
    require_possible_id(job_id)
    job, attempts, steps = storage.job_reader.with_attempts(job_id)
    return record_of(job, attempts, steps, redactor=redactor, is_limited=is_limited)


def record_of(
    job: Job,
    attempts: Sequence[Attempt],
    steps: StepsOfJob,
    *,
    redactor: Redactor,
    is_limited: bool,
    most_values: int | None = None,
) -> JobRecord:
    """Return a job that was read as :func:`read_job` does.

    Only the first ``most_values`` of a large payload are needed; of 0, none of any.
    """
    shown, stored = (
        _record(job, attempts, steps, each, most_values)
        for each in (redactor, Unmasked())
    )
    origin = None if is_limited and is_of_task(shown.origin) else shown.origin
    return replace(shown, redacted=shown != stored, origin=origin)


def _record(
    job: Job,
    attempts: Sequence[Attempt],
    steps: StepsOfJob,
    redactor: Redactor,
    most: int | None,
) -> JobRecord:
    started, ended = job.started_at, job.completed_at
    progress = masked_text(job.progress, redactor)
    return JobRecord(
        row=replace(job, progress=progress),
        payload=None if most == 0 else payload_value(job.payload, redactor, job, most),
        error_history=job.error_history,
        payload_bytes=len(job.payload.encode()),
        throttle_attempts=job.throttle_attempts,
        cancel_requested_at=job.cancel_requested_at,
        progress=progress,
        result=json_value(job.result, redactor),
        result_error=job.result_error,
        wait_ms=whole_milliseconds(job.scheduled_at, started),
        run_ms=whole_milliseconds(started, ended),
        redacted=False,
        traceback=job.traceback,
        attempts=with_steps(attempts, (_masked(s, redactor) for s in steps.steps)),
        signature=job.signature,
        timeout_s=job.timeout_s,
        crashes=job.crashes,
        schedule_name=job.schedule_name,
        origin=job.origin,
        batch_id=job.batch_id,
        start_at=job.start_at,
        step_count=steps.count,
        checkpoint=steps.checkpoint and _masked(steps.checkpoint, redactor),
    )


def _masked(step: Step, redactor: Redactor) -> Step:
    return replace(step, result=json_value(step.result, redactor))
