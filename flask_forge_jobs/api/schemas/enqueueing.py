"""Requests to enqueue below /v1, and their answers."""

from __future__ import annotations

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    Flag,
    Fraction,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.api.schemas.jobs import EnqueueRequest


class NewJobRequest(EnqueueRequest):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.new_job`."""

    delay = Fraction(load_default=None, metadata=bounds.DELAY)


class NewJobsRequest(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.new_jobs`."""

    items = List(
        Nested(NewJobRequest),
        required=True,
        error_messages={
            "required": "is required",
            "null": "must not be null",
            "invalid": "must be an array",
        },
        metadata=bounds.NEW_JOBS,
    )


class EnqueuedJob(V1Schema):
    """The job that a request to enqueue ended with."""

    id = Text()
    deduped = Flag(attribute="is_deduped")
    queue_name = Text()
    status = Text()
    scheduled_at = Instant()


class EnqueuedJobs(V1Schema):
    """The jobs that a bulk enqueue ended with, in order."""

    results = List(Nested(EnqueuedJob))
    enqueued = WholeNumber()
    deduped = WholeNumber()
