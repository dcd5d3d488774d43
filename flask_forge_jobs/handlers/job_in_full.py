"""Reads everything that the page of a job shows, in two queries."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.handlers.explain import explain_facts
from flask_forge_jobs.handlers.job_record import JobRecord, record_of
from flask_forge_jobs.handlers.jobs import require_possible_id
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.storage.base import Storage


@dataclass(frozen=True, slots=True)
class JobInFull:
    """A job and its explanation."""

    record: JobRecord
    why: Sentence


def job_in_full(
    storage: Storage,
    job_id: str,
    *,
    redactor: Redactor,
    queues: Collection[str] | None = None,
    max_values: int | None = None,
) -> JobInFull:
    """Return one job with its explanation; secrets are masked.

    Args:
        storage: The stores.
        job_id: The job.
        redactor: Masks payload, result and progress.
        queues: All that the caller may know; None means every queue. A job of another
            queue does not exist for the caller.
        max_values: How many values of a large payload are needed; 0 means no payload
            at all, None all of it.

    Raises:
        JobNotFoundError: No job of these queues has this id.
    """
    require_possible_id(job_id)
    job, attempts, steps, ties, facts, settings = storage.evidence.job_in_full(job_id)
    if queues is not None and job.queue_name not in queues:
        raise JobNotFoundError(job_id)
    return JobInFull(
        record_of(
            job,
            attempts,
            steps,
            ties,
            redactor=redactor,
            queues=queues,
            max_values=max_values,
        ),
        explain_facts(storage, facts, settings, queues),
    )
