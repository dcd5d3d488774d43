"""Batches on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    AnyJson,
    Array,
    Digits,
    Flag,
    Fraction,
    Instant,
    StrictField,
    Switch,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.api.schemas.jobs import EndedJobLineSchema
from flask_forge_jobs.api.schemas.new_jobs import (
    EnqueuedJobSchema,
    TiedJobRequestSchema,
)
from flask_forge_jobs.api.schemas.queues import NamesQueueSchema
from flask_forge_jobs.handlers.batches import DEFAULT_PAGE_SIZE
from flask_forge_jobs.handlers.job_actions import MAX_ENQUEUED_AT_ONCE


class Earlier(StrictField[object]):
    """The id of a job or batch, or the place of an earlier job of the same request."""

    shape: Mapping[str, Any] = {
        "anyOf": [
            {"type": "string", **bounds.PARENT_ID},
            {"type": "integer", **bounds.whole(0, MAX_ENQUEUED_AT_ONCE - 1)},
        ]
    }
    default_error_messages = {  # noqa: RUF012  # marshmallow's way
        "invalid": "must be an id, or the place of an earlier job"
    }

    def read(self, value: object) -> object:
        """Return text or a number unchanged."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.make_error("invalid")
        return value


class MemberRequestSchema(TiedJobRequestSchema):
    """A job of a batch: arguments of :func:`.job_actions.new_job`."""

    after = Array(Earlier(), load_default=None, metadata=bounds.PARENTS)


class FollowUpRequestSchema(NamesQueueSchema, V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.new_batches.follow_up`."""

    kind = Text(required=True, metadata=bounds.KIND)
    parameter = Text(load_default=None, metadata=bounds.PARAMETER)
    priority = WholeNumber(load_default=None, metadata=bounds.PRIORITY)
    max_attempts = WholeNumber(load_default=None, metadata=bounds.MAX_ATTEMPTS)


def _at_event() -> Nested:
    return Nested(
        FollowUpRequestSchema,
        load_default=None,
        allow_none=True,
        error_messages={"type": "must be an object"},
    )


class NewBatchRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.new_batches.create`."""

    name = Text(required=True, metadata=bounds.BATCH_NAME)
    data = AnyJson(load_default=None, allow_none=True)
    jobs = Array(
        Nested(MemberRequestSchema), load_default=(), metadata=bounds.BATCH_JOBS
    )
    on_success = _at_event()
    on_finished = _at_event()
    on_dead = _at_event()
    cancel_on_dead = Flag(load_default=False)
    within = Text(load_default=None, metadata=bounds.BATCH_ID)
    is_sealed = Flag(data_key="sealed", load_default=True)


class MembersRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.new_batches.add_jobs`."""

    jobs = Array(Nested(MemberRequestSchema), required=True, metadata=bounds.NEW_JOBS)


class CreatedBatchSchema(V1Schema):
    """A new batch, and its first jobs in order."""

    id = Text()
    results = List(Nested(EnqueuedJobSchema))


class AtEventSchema(V1Schema):
    """The job of an event of a batch; ``job_id`` is null until the event has come."""

    kind = Text()
    queue_name = Text()
    job_id = Text(allow_none=True)


class ListedBatchSchema(V1Schema):
    """One batch in a list."""

    id = Text(attribute="batch.id")
    name = Text()
    state = Text(attribute="batch.state")
    total = WholeNumber(attribute="batch.total")
    waiting = WholeNumber(attribute="batch.waiting")
    running = WholeNumber(attribute="batch.running")
    done = WholeNumber(attribute="batch.done")
    dead = WholeNumber(attribute="batch.dead")
    removed = WholeNumber(attribute="batch.removed")
    progress = Fraction()
    sealed = Flag(attribute="batch.is_sealed")
    cancel_on_dead = Flag(attribute="batch.cancel_on_dead")
    cancel_requested_at = Instant(
        attribute="batch.cancel_requested_at", allow_none=True
    )
    within = Text(allow_none=True)
    created_at = Instant(attribute="batch.created_at")
    last_added_at = Instant(attribute="batch.last_added_at")
    completed_at = Instant(attribute="batch.completed_at", allow_none=True)
    succeeded_at = Instant(attribute="batch.succeeded_at", allow_none=True)
    finished_at = Instant(attribute="batch.finished_at", allow_none=True)
    died_at = Instant(attribute="batch.died_at", allow_none=True)
    on_success = Nested(AtEventSchema, allow_none=True)
    on_finished = Nested(AtEventSchema, allow_none=True)
    on_dead = Nested(AtEventSchema, allow_none=True)


class BatchSchema(ListedBatchSchema):
    """One batch with its data."""

    data = AnyJson(allow_none=True)
    redacted = Flag()


class BatchesFoundSchema(V1Schema):
    """One page of batches."""

    rows = List(Nested(ListedBatchSchema))
    next_cursor = Text(allow_none=True)


class BatchJobsSchema(V1Schema):
    """One page of the jobs of a batch."""

    rows = List(Nested(EndedJobLineSchema))
    next_cursor = Text(allow_none=True)


class BatchRetriedSchema(V1Schema):
    """A batch after a retry, and how many jobs run again; if not complete, not all."""

    changed = WholeNumber()
    complete = Flag(attribute="is_complete")
    batch = Nested(BatchSchema)


class BatchesQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.batches.list_batches`."""

    is_open = Switch(data_key="open", load_default=False)
    limit = Digits(load_default=DEFAULT_PAGE_SIZE, metadata=bounds.LIMIT)
    cursor = Text(load_default=None)


class BatchJobsQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.batches.jobs_of_batch`."""

    status = Text(load_default=None, metadata=bounds.STORED_STATUS)
    limit = Digits(load_default=DEFAULT_PAGE_SIZE, metadata=bounds.LIMIT)
    cursor = Text(load_default=None)
