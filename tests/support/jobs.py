"""Shorthands for what most tests do."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from flask_forge_jobs.model.attempts import RunSpan
from flask_forge_jobs.model.bulk import BulkStep, JobAction
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import EnqueueResult, JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome
from flask_forge_jobs.model.run_end import CancelReason, JobUpdate, end_of_run
from flask_forge_jobs.model.steps import Checkpoint
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.pace import BATCH
from tests.support.sql import Sql

OWNER = "owner-1"
OTHER = "owner-2"
QUEUE = "default"
# Long enough that no test waits for it by accident.
RETRY_DELAY_S = 600.0


def enqueue(
    storage: Storage,
    kind: str = "noop",
    *,
    queue_name: str = QUEUE,
    key: str | None = None,
    priority: int = 0,
    max_attempts: int = 5,
) -> str:
    """Enqueue one job and return its id."""
    return enqueued(
        storage,
        kind,
        queue_name=queue_name,
        key=key,
        priority=priority,
        max_attempts=max_attempts,
    ).id


def enqueued(
    storage: Storage,
    kind: str = "noop",
    *,
    queue_name: str = QUEUE,
    key: str | None = None,
    priority: int = 0,
    max_attempts: int = 5,
) -> EnqueueResult:
    """Enqueue one job and return the whole result."""
    return storage.jobs.enqueue(
        NewJob(
            kind,
            queue_name=queue_name,
            dedupe_key=key,
            priority=priority,
            max_attempts=max_attempts,
        )
    )


def enqueue_in(
    storage: Storage, sql: Sql, seconds: float, *, queue_name: str = QUEUE
) -> str:
    """Enqueue one job that is due this many seconds after the database's now."""
    run_at = from_micros(sql.now_us()) + timedelta(seconds=seconds)
    return storage.jobs.enqueue(NewJob("noop", queue_name=queue_name, run_at=run_at)).id


def claim_one(
    storage: Storage, *, owner: str = OWNER, queue_name: str = QUEUE
) -> ClaimedJob:
    """Claim one job; it is an error when none is due."""
    (job,) = storage.jobs.claim(queue_name, owner)
    return job


def finish(
    storage: Storage,
    job: ClaimedJob,
    outcome: Outcome,
    *,
    owner: str = OWNER,
    delay_s: float = RETRY_DELAY_S,
) -> bool:
    """End one run the way the runtime does; False when it was refused."""
    update = update_for(job, outcome, failure_delay_s=delay_s, user_cancelled=False)
    return storage.jobs.finish(owner, [update]) == []


def update_for(
    job: ClaimedJob, outcome: Outcome, *, failure_delay_s: float, user_cancelled: bool
) -> JobUpdate:
    """Return the write for an outcome; a retry waits this long."""
    update = end_of_run(
        job,
        outcome,
        CancelReason.USER if user_cancelled else None,
        timeout_s=None,
        is_final=lambda *_: False,
        delay_s=lambda *_: failure_delay_s,
    )
    assert update is not None
    if update.status is not JobStatus.DONE or job.claim > 1:  # as a worker does
        update.span = RunSpan(job.claimed_at_us, job.claimed_at_us, slot=0)
    return update


def run(storage: Storage, outcome: Outcome, *, queue_name: str = QUEUE) -> ClaimedJob:
    """Claim one job and end it."""
    job = claim_one(storage, queue_name=queue_name)
    assert finish(storage, job, outcome)
    return job


def job_with(storage: Storage, status: JobStatus, *, queue_name: str = QUEUE) -> str:
    """Make one job that has come to be in a state; its queue must be empty."""
    job_id = enqueue(storage, queue_name=queue_name)
    if status is JobStatus.PENDING:
        return job_id
    job = claim_one(storage, queue_name=queue_name)
    endings: dict[JobStatus, Outcome] = {
        JobStatus.DONE: Done("1"),
        JobStatus.FAILED: Failed("no"),
        JobStatus.DEAD: Dead("no"),
    }
    if status in endings:
        finish(storage, job, endings[status])
    return job_id


def dead_with_steps(storage: Storage) -> str:
    """Make a dead job with a step, "fetch", and a checkpoint, 7."""
    job_id = enqueue(storage)
    job = claim_one(storage)
    assert storage.steps.keep(job.run_id, OWNER, "fetch", '{"n":1,"token":"s"}')
    update = update_for(job, Dead("no"), failure_delay_s=0.0, user_cancelled=False)
    update.saved = Checkpoint(job.run_id, "7")
    assert storage.jobs.finish(OWNER, [update]) == []
    return job_id


def rescue_all(storage: Storage) -> int:
    """Give back every running job, as if all its owners had fallen silent."""
    return storage.jobs.rescue(storage.jobs.running())


def having(
    *statuses: JobStatus, queue_name: str | None = None, kind: str | None = None
) -> JobFilter:
    """Return a filter of jobs in one of these states."""
    return JobFilter(
        statuses=statuses,
        queues=None if queue_name is None else (queue_name,),
        kinds=() if kind is None else (kind,),
    )


def walk(
    storage: Storage,
    action: JobAction,
    wanted: JobFilter,
    *,
    limit: int = BATCH,
    dependents: bool = False,
) -> list[BulkStep]:
    """Act on everything that matches, step by step; each must get further."""
    step = partial(
        storage.job_admin.step, action, wanted, limit=limit, dependents=dependents
    )
    steps = [step()]
    while (position := steps[-1].position) is not None:
        steps.append(step(after=position))
        assert steps[-1].position != position, "the walk would never end"
    return steps
