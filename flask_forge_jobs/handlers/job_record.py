"""Reads one job with everything that is known of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from flask_forge_jobs.handlers.batches import is_known
from flask_forge_jobs.handlers.jobs import (
    JobDetail,
    json_value,
    masked_text,
    payload_value,
    require_possible_id,
)
from flask_forge_jobs.handlers.redaction import UNMASKED, Redactor
from flask_forge_jobs.model.attempts import Attempt, with_steps
from flask_forge_jobs.model.instants import whole_milliseconds
from flask_forge_jobs.model.jobs import Job
from flask_forge_jobs.model.origins import is_of_task
from flask_forge_jobs.model.steps import Step, StepsOfJob
from flask_forge_jobs.model.ties import NO_TIES, Dependent, JobTies, Parent
from flask_forge_jobs.storage.base import Storage


@dataclass(frozen=True, slots=True)
class JobRecord(JobDetail):
    """One job with everything that is known of it; secrets are masked."""

    # Of the stored text.
    payload_bytes: int
    result: object
    # From its due time to the last start; None before that and until a retry starts.
    wait_ms: int | None
    # From the last start to the end; None before that.
    run_ms: int | None
    # Whether a secret is masked that is stored as it is.
    redacted: bool
    # The first and the newest 30, the oldest first; the one under way comes last.
    attempts: Sequence[Attempt]
    # Its source, such as "POST /signup"; None if unknown.
    origin: str | None
    # The batch that counts it, or None; a limited caller may not know it.
    batch_id: str | None
    # How many steps it has; those of each attempt are its own, at most 100 in all.
    step_count: int
    # The value that its task has saved last, and when; None without one.
    checkpoint: Step | None
    # How many of its parents have not ended for it.
    waiting_for: int
    # The jobs and batches that it waits for, and the jobs that wait for it, by id, at
    # most 100 each; of a limited caller those of its queues.
    parents: Sequence[ParentShown]
    dependents: Sequence[Dependent]


@dataclass(frozen=True, slots=True)
class ParentShown:
    """A parent of a job; ``result`` is a JSON value with masked secrets."""

    link: Parent
    result: object


def read_job(
    storage: Storage,
    job_id: str,
    *,
    redactor: Redactor,
    queues: Collection[str] | None = None,
) -> JobRecord:
    """Return one job with payload, attempts, progress, result, timings and ties.

    ``queues`` are all that the caller may know; None means every queue. Callers that
    are limited to some see no task as its origin, since the task may belong to another
    queue.
    """
    require_possible_id(job_id)
    parts = storage.job_reader.with_attempts(job_id)
    return record_of(*parts, redactor=redactor, queues=queues)


def record_of(
    job: Job,
    attempts: Sequence[Attempt],
    steps: StepsOfJob,
    ties: JobTies = NO_TIES,
    *,
    redactor: Redactor,
    queues: Collection[str] | None,
    max_values: int | None = None,
) -> JobRecord:
    """Return a job that was read as :func:`read_job` does.

    Only the first ``max_values`` of a large payload are needed; of 0, none of any.
    """
    known = _known(ties, queues)
    shown, stored = (
        _record((job, attempts, steps, known), each, max_values)
        for each in (redactor, UNMASKED)
    )
    is_limited = queues is not None
    return replace(
        shown,
        redacted=shown != stored,
        origin=None if is_limited and is_of_task(shown.origin) else shown.origin,
        batch_id=shown.batch_id if is_known(ties.batch_queues, queues) else None,
        waiting_for=sum(each.ended is None for each in ties.parents),
    )


def _known(ties: JobTies, queues: Collection[str] | None) -> JobTies:
    """Return the ties whose other end the caller may know."""
    if queues is None:
        return ties
    return JobTies(
        [
            each
            for each in ties.parents
            if each.queue_name in queues or is_known(each.queues, queues)
        ],
        [each for each in ties.dependents if each.queue_name in queues],
    )


def _record(
    parts: tuple[Job, Sequence[Attempt], StepsOfJob, JobTies],
    redactor: Redactor,
    max_values: int | None,
) -> JobRecord:
    job, attempts, steps, ties = parts
    started, ended = job.started_at, job.completed_at
    return JobRecord(
        row=replace(job, progress=masked_text(job.progress, redactor)),
        payload=None
        if max_values == 0
        else payload_value(job.payload, redactor, job, max_values),
        payload_bytes=len(job.payload.encode()),
        result=json_value(job.result, redactor),
        wait_ms=whole_milliseconds(job.scheduled_at, started),
        run_ms=whole_milliseconds(started, ended),
        redacted=False,
        attempts=with_steps(attempts, (_masked(s, redactor) for s in steps.steps)),
        origin=job.origin,
        batch_id=job.batch_id,
        step_count=steps.count,
        checkpoint=steps.checkpoint and _masked(steps.checkpoint, redactor),
        waiting_for=0,
        parents=[ParentShown(p, json_value(p.result, redactor)) for p in ties.parents],
        dependents=ties.dependents,
    )


def _masked(step: Step, redactor: Redactor) -> Step:
    return replace(step, result=json_value(step.result, redactor))
