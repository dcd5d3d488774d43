"""Jobs to enqueue, and those that were, below ``/v1``."""

from __future__ import annotations

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    Array,
    Flag,
    Fraction,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.api.schemas.jobs import EnqueueRequestSchema


class TiedJobRequestSchema(EnqueueRequestSchema):
    """A job that may wait for others, which a subclass names."""

    delay = Fraction(load_default=None, metadata=bounds.DELAY)
    on_parent_dead = Text(load_default=None, metadata=bounds.ON_PARENT_DEAD)


class NewJobRequestSchema(TiedJobRequestSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.new_job`."""

    after = Array(
        Text(metadata=bounds.PARENT_ID), load_default=None, metadata=bounds.PARENTS
    )


class NewJobsRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.new_jobs`."""

    items = Array(Nested(NewJobRequestSchema), required=True, metadata=bounds.NEW_JOBS)


class EnqueuedJobSchema(V1Schema):
    """The new job, or the unfinished one that holds the dedupe key."""

    id = Text()
    deduped = Flag(attribute="is_deduped")
    queue_name = Text()
    status = Text()
    scheduled_at = Instant()


class EnqueuedJobsSchema(V1Schema):
    """The jobs of a bulk enqueue, in order."""

    results = List(Nested(EnqueuedJobSchema))
    enqueued = WholeNumber()
    deduped = WholeNumber()
