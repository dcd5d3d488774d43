"""Jobs on the wire: read, enqueue, change."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from marshmallow import post_load
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    AnyJson,
    Array,
    Digits,
    Flag,
    Fraction,
    Instant,
    Switch,
    Text,
    V1Schema,
    WholeNumber,
    WireSchema,
)
from flask_forge_jobs.api.schemas.queues import (
    AsksQueueSchema,
    NamesQueueSchema,
    StatusCountsSchema,
)
from flask_forge_jobs.handlers.jobs import COUNTS, DEFAULT_SORT, SORTS
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.model.progress import shown_progress


class Progress(AnyJson):
    """A stored report of progress, with ``at`` and ``rate``."""

    def write(self, value: object) -> object:
        """Return the report of a stored JSON text, with sorted keys."""
        return super().write(shown_progress(str(value)))


_FILTER_KEYS = frozenset(each.name for each in fields(JobFilter))


class JobRowSchema(WireSchema):
    """One line of a listing, in the reference's words, which are fixed."""

    id = Text()
    queue_name = Text()
    kind = Text()
    status = Text()
    priority = WholeNumber()
    attempts = WholeNumber()
    max_attempts = WholeNumber()
    enqueued_at = Instant()
    scheduled_at = Instant()
    started_at = Instant(allow_none=True)
    completed_at = Instant(allow_none=True)
    last_error = Text(allow_none=True)
    slot_id = Text(data_key="process_id", allow_none=True)
    dedupe_key = Text(allow_none=True)
    heartbeat_at = Instant(allow_none=True)


class EndedJobLineSchema(JobRowSchema):
    """One job in a listing below ``/v1``; a further field belongs here."""

    slot_id = Text(allow_none=True)
    ending = Text(allow_none=True, metadata=bounds.ENDING)
    progress = Progress(attribute="running_progress", allow_none=True)


class ErrorEntrySchema(WireSchema):
    """One error of a job; ``at`` is stored as text."""

    at = Text()
    attempt = WholeNumber()
    message = Text()


class JobInspectSchema(WireSchema):
    """One job in full."""

    row = Nested(JobRowSchema)
    payload = AnyJson()
    error_history = List(Nested(ErrorEntrySchema), attribute="row.error_history")


class RevealQuerySchema(WireSchema):
    """How to show one thing; ``reveal=1`` needs the permission ``payload.reveal``."""

    reveal = Text(load_default=None)


class JobsPageSchema(WireSchema):
    """One page of a listing."""

    rows = List(Nested(JobRowSchema))
    total = WholeNumber()
    limit = WholeNumber()
    offset = WholeNumber()


def names_of(each: bounds.Metadata, data_key: str | None = None) -> Array[str]:
    """Return a filter's list of exact names; ``each`` are the bounds of a name."""
    return Array(
        Text(metadata=each),
        data_key=data_key,
        load_default=(),
        metadata=bounds.FILTER_NAMES,
    )


class FilterSchema(WireSchema):
    """The jobs to list; loads as the model's filter."""

    queues = names_of(bounds.LISTED_NAME)
    kinds = names_of(bounds.LISTED_NAME)
    statuses = Array(
        Text(metadata=bounds.STATUS), load_default=(), metadata=bounds.STATUSES
    )
    enqueued_from = Instant(data_key="from", load_default=None)
    enqueued_to = Instant(data_key="to", load_default=None)
    payload_search = Text(load_default=None, metadata=bounds.SEARCH)

    @post_load
    def make(self, values: dict[str, Any], **_: Any) -> JobFilter:
        """Build the model's filter."""
        return JobFilter(**values | {"queues": values["queues"] or None})


class ListRequestSchema(WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.jobs.list_jobs`."""

    job_filter = Nested(
        FilterSchema,
        data_key="filter",
        load_default=JobFilter,
        error_messages={"null": "must not be null", "type": "must be an object"},
    )
    limit = WholeNumber(required=True, is_signed=False, metadata=bounds.PAGE_SIZE)
    offset = WholeNumber(required=True, is_signed=False, metadata=bounds.OFFSET)


class ExactFilterSchema(V1Schema, FilterSchema):
    """The jobs to list; an unknown key is an error."""


class ExactListRequestSchema(V1Schema, ListRequestSchema):
    """The same below ``/v1``, where unknown keys are errors."""

    job_filter = Nested(
        ExactFilterSchema,
        data_key="filter",
        load_default=JobFilter,
        error_messages={"null": "must not be null", "type": "must be an object"},
    )


class FailedQuerySchema(WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.jobs.failed_jobs`."""

    limit = Digits(load_default=100, metadata=bounds.LIMIT)


class KindsQuerySchema(AsksQueueSchema, WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.jobs.list_kinds`."""


class ScheduledQuerySchema(AsksQueueSchema, WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.jobs.scheduled_jobs`."""

    limit = Digits(load_default=500, metadata=bounds.LIMIT)
    offset = Digits(load_default=0, metadata=bounds.OFFSET)


class EnqueueRequestSchema(NamesQueueSchema, V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.enqueue`."""

    kind = Text(required=True, metadata=bounds.KIND)
    payload = AnyJson(required=True, allow_none=True)
    dedupe_key = Text(load_default=None, metadata=bounds.DEDUPE_KEY)
    run_at = Instant(load_default=None)
    priority = WholeNumber(load_default=None)
    max_attempts = WholeNumber(load_default=None, metadata=bounds.MAX_ATTEMPTS)


class EnqueueDemoRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.enqueue_demo`."""

    payload = AnyJson(load_default=None)


class ExactRevealQuerySchema(V1Schema, RevealQuerySchema):
    """The same below ``/v1``, of a batch, too."""


class CountsQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.jobs.count_jobs`."""

    statuses = Array(
        Text(metadata=bounds.STATUS),
        data_key="status",
        load_default=(),
        metadata=bounds.STATUSES,
    )
    queues = names_of(bounds.FILTER_NAME, data_key="queue")
    kinds = names_of(bounds.FILTER_NAME, data_key="kind")
    payload_search = Text(data_key="q", load_default=None, metadata=bounds.SEARCH)
    enqueued_from = Instant(data_key="from", load_default=None)
    enqueued_to = Instant(data_key="to", load_default=None)
    error_search = Text(data_key="error", load_default=None, metadata=bounds.SEARCH)
    dedupe_key = Text(load_default=None, metadata=bounds.DEDUPE_KEY)
    slot_id = Text(load_default=None, metadata=bounds.FILTER_NAME)
    schedule_name = Text(
        data_key="cron", load_default=None, metadata=bounds.FILTER_NAME
    )
    min_attempts = Digits(load_default=0, metadata=bounds.MIN_ATTEMPTS)
    ending = Text(load_default=None, metadata=bounds.ENDING)
    signature = Text(load_default=None, metadata=bounds.SIGNATURE)
    batch_id = Text(data_key="batch", load_default=None, metadata=bounds.PARENT_ID)
    is_waiting = Switch(data_key="waiting", load_default=False)

    @post_load
    def make(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Build the model's filter."""
        parts = {key: values.pop(key) for key in _FILTER_KEYS & values.keys()}
        parts["queues"] = parts["queues"] or None
        return values | {"job_filter": JobFilter(**parts)}


class JobsQuerySchema(CountsQuerySchema):
    """Arguments of :func:`flask_forge_jobs.handlers.jobs.find_jobs`."""

    sort = Text(load_default=DEFAULT_SORT, metadata={"enum": list(SORTS)})
    limit = Digits(load_default=50, metadata=bounds.LIMIT)
    cursor = Text(load_default=None)
    count = Text(load_default="exact", metadata={"enum": list(COUNTS)})


class JobCountsSchema(V1Schema, StatusCountsSchema):
    """The number of matching jobs in each state; ``pending`` includes ``scheduled``."""

    scheduled = WholeNumber(allow_none=True)
    total = WholeNumber()


class JobsFoundSchema(V1Schema):
    """One page of a cursor listing."""

    rows = List(Nested(EndedJobLineSchema))
    next_cursor = Text(allow_none=True)
    total = WholeNumber(allow_none=True)


class JobStateSchema(V1Schema):
    """The state of a job, for a caller that waits for it."""

    status = Text(metadata=bounds.STATUS)
    is_ready = Flag()
    is_successful = Flag()
    progress = Progress(allow_none=True)
    result = AnyJson(allow_none=True)
    result_error = Text(allow_none=True)
    ending = Text(allow_none=True, metadata=bounds.ENDING)


class StepSchema(V1Schema):
    """A finished step of a job; its result, if it has at most 4 KiB."""

    name = Text()
    run = WholeNumber()
    at = Instant()
    size = WholeNumber()
    result = AnyJson(allow_none=True)


class CheckpointSchema(V1Schema):
    """The value that a task has saved last."""

    run = WholeNumber()
    at = Instant()
    size = WholeNumber()
    value = AnyJson(attribute="result", allow_none=True)


class AttemptSchema(V1Schema):
    """One run of a job, whose error and traceback were masked when it ended."""

    run = WholeNumber()
    attempt = WholeNumber()
    due_at = Instant()
    started_at = Instant()
    ended_at = Instant(allow_none=True)
    wait_ms = WholeNumber(allow_none=True)
    run_ms = WholeNumber(allow_none=True)
    worker_id = Text(allow_none=True)
    worker_name = Text(allow_none=True)
    host = Text(allow_none=True)
    slot = WholeNumber(allow_none=True)
    ending = Text(metadata=bounds.ATTEMPT_ENDING)
    error = Text(allow_none=True)
    traceback = Text(allow_none=True)
    signature = Text(allow_none=True)
    steps = List(Nested(StepSchema))


class ParentSchema(V1Schema):
    """A job that another one waits for, or has waited for; or a batch, without kind."""

    id = Text(attribute="link.id")
    kind = Text(attribute="link.kind", allow_none=True)
    queue_name = Text(attribute="link.queue_name", allow_none=True)
    status = Text(attribute="link.status", allow_none=True)
    ended = Text(attribute="link.ended", allow_none=True)
    on_parent_dead = Text(attribute="link.on_parent_dead")
    result = AnyJson(allow_none=True)
    error = Text(attribute="link.error", allow_none=True)


class DependentSchema(V1Schema):
    """A job that waits for a job, or has waited for it."""

    id = Text()
    kind = Text()
    queue_name = Text()
    status = Text()
    is_waiting = Flag()
    on_parent_dead = Text()


class JobRecordSchema(V1Schema):
    """One job with everything that is known of it."""

    row = Nested(EndedJobLineSchema)
    payload = AnyJson(allow_none=True)
    error_history = List(Nested(ErrorEntrySchema), attribute="row.error_history")
    throttle_attempts = WholeNumber(attribute="row.throttle_attempts")
    cancel_requested_at = Instant(allow_none=True, attribute="row.cancel_requested_at")
    progress = Progress(allow_none=True, attribute="row.progress")
    result = AnyJson(allow_none=True)
    wait_ms = WholeNumber(allow_none=True)
    run_ms = WholeNumber(allow_none=True)
    redacted = Flag()
    result_error = Text(allow_none=True, attribute="row.result_error")
    traceback = Text(allow_none=True, attribute="row.traceback")
    attempts = List(Nested(AttemptSchema))
    signature = Text(allow_none=True, attribute="row.signature")
    timeout_s = Fraction(allow_none=True, attribute="row.timeout_s")
    crashes = WholeNumber(attribute="row.crashes")
    schedule_name = Text(allow_none=True, attribute="row.schedule_name")
    origin = Text(allow_none=True)
    batch_id = Text(allow_none=True)
    start_at = Instant(allow_none=True, attribute="row.start_at")
    step_count = WholeNumber()
    checkpoint = Nested(CheckpointSchema, allow_none=True)
    waiting_for = WholeNumber()
    parents = List(Nested(ParentSchema))
    dependents = List(Nested(DependentSchema))


class CancelRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.cancel`."""

    reason = Text(load_default=None, metadata=bounds.REASON)


class RetryQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.retry`."""

    restart = Switch(load_default=False)
    dependents = Switch(load_default=False)


class RescheduleRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.reschedule`."""

    run_at = Instant(load_default=None)
    priority = WholeNumber(load_default=None, metadata=bounds.PRIORITY)
    queue_name = Text(load_default=None, metadata=bounds.QUEUE_NAME)


class DeleteOutcomeSchema(V1Schema):
    """The effect of a delete on a running job."""

    outcome = Text()


class CancelOutcomeSchema(V1Schema):
    """The effect of a cancel on a job."""

    id = Text()
    outcome = Text()
