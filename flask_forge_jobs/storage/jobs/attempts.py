"""Stores the attempts of jobs, in the transaction that ends the run.

A job that is done at its first attempt has no row: the job itself tells all of that.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence

from flask_forge_jobs.model.attempts import NEWEST_ATTEMPTS, Attempt, AttemptEnding
from flask_forge_jobs.model.instants import from_micros, optional_from_micros
from flask_forge_jobs.model.jobs import Job, JobStatus
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.model.workers import slot_number
from flask_forge_jobs.storage.database import (
    Parameter,
    Row,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.rows import reader_of

AttemptRow = dict[str, Parameter]


def store_attempts(transaction: Transaction, rows: Sequence[AttemptRow]) -> None:
    """Store ended attempts, and drop those of their jobs that are not kept.

    Takes no round trip of its own. A repeat stores nothing twice.
    """
    if not rows:
        return
    transaction.defer("store_attempts", rows=encode_rows(rows))
    # Nobody has more attempts than claims.
    many = [str(row["job_id"]) for row in rows if _run(row) > NEWEST_ATTEMPTS + 1]
    if many:
        transaction.defer(
            "drop_attempts",
            rows=encode_names("job_id", many),
            offset=NEWEST_ATTEMPTS - 1,
        )


def ended_attempts(
    updates: Sequence[JobUpdate], stored: Container[str], worker_id: str
) -> list[AttemptRow]:
    """Return the attempts that a worker's updates end, of the jobs that are stored."""
    return [
        {
            "job_id": each.job.id,
            "run": each.job.claim,
            "attempt": each.job.attempts,
            "due_at": each.job.scheduled_at_us,
            "started_at": each.span.started_us,
            "ended_at": each.span.ended_us,
            "worker_id": worker_id,
            "slot": each.span.slot if each.span.slot >= 0 else None,
            "ending": each.attempt_ending.value,
            "error": each.error,
            "traceback": each.traceback,
            "signature": each.signature if each.is_failure else None,
        }
        for each in updates
        if each.span is not None and each.job.id in stored
    ]


ATTEMPTS = 5
"""Columns of the fragment ``attempts_and_worker``."""
_attempt_from_row = reader_of(
    Attempt,
    "signature",
    due_at=from_micros,
    started_at=from_micros,
    ended_at=optional_from_micros,
    ending=AttemptEnding,
)


def attempts_of(job: Job, row: Row) -> tuple[Attempt, ...]:
    """Return the attempts of a job, the oldest first.

    Those with a row, then the one that runs, or was done at the first attempt.

    ``row`` has its claims, its worker's id, name and host, and the JSON text of its
    rows.
    """
    claims, worker_id, worker_name, host, text = row
    attempts = [_attempt_from_row(each) for each in json.loads(text or "[]")]
    attempts.sort(key=lambda each: each.run)
    is_running = job.status is JobStatus.IN_PROGRESS
    is_stored = bool(attempts) and attempts[-1].run == claims
    started_at = job.started_at
    if is_stored or started_at is None:
        return tuple(attempts)
    if is_running or job.status is JobStatus.DONE:
        attempts.append(
            Attempt(
                run=claims,
                attempt=job.attempts,
                due_at=job.scheduled_at,
                started_at=started_at,
                ended_at=job.completed_at,
                worker_id=worker_id,
                worker_name=worker_name,
                host=host,
                slot=slot_number(job.slot_id, job.queue_name),
                ending=AttemptEnding.RUNNING if is_running else AttemptEnding.DONE,
            )
        )
    return tuple(attempts)


def _run(row: AttemptRow) -> int:
    return int(row["run"] or 0)
