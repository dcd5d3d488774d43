"""Enqueue requests below /v1, and their answers."""

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
from flask_forge_jobs.api.schemas.jobs import LIST_MESSAGES, EnqueueRequest


class NewJobRequest(EnqueueRequest):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.new_job`."""

    delay = Fraction(load_default=None, metadata=bounds.DELAY)


class NewJobsRequest(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.new_jobs`."""

    items = List(
        Nested(NewJobRequest),
        required=True,
        error_messages=LIST_MESSAGES,
        metadata=bounds.NEW_JOBS,
    )


class EnqueuedJob(V1Schema):
    """The new job, or the unfinished one that holds the dedupe key."""

    id = Text()
    deduped = Flag(attribute="is_deduped")
    queue_name = Text()
    status = Text()
    scheduled_at = Instant()


class EnqueuedJobs(V1Schema):
    """The jobs of a bulk enqueue, in order."""

    results = List(Nested(EnqueuedJob))
    enqueued = WholeNumber()
    deduped = WholeNumber()
