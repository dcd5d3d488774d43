"""Queues on the wire: how a request names one, its workers and slots, its settings."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, post_load
from marshmallow.fields import List, Nested
from marshmallow.validate import NoneOf

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    IS_ALIAS,
    Array,
    Flag,
    Instant,
    Switch,
    Text,
    V1Schema,
    WholeNumber,
    WireSchema,
)
from flask_forge_jobs.model.queues import (
    QueueChanges,
    check_backoff,
    check_max_workers,
    check_retention_days,
)


class NamesQueueSchema(Schema):
    """A shape with ``queue_name`` and its second name ``queue``."""

    queue_name = Text(load_default=None, metadata=bounds.QUEUE_NAME)
    queue = Text(load_default=None, metadata={IS_ALIAS: True, **bounds.QUEUE_NAME})

    @post_load
    def with_one_name(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Reduce the two names to ``queue_name``."""
        queue = values.pop("queue")
        if queue is not None:
            if values["queue_name"] not in (None, queue):
                raise ValidationError("differs from queue", "queue_name")
            values["queue_name"] = queue
        return values


class AsksQueueSchema(NamesQueueSchema):
    """The same in a query, where an invalid name means a queue without jobs."""

    queue_name = Text(load_default=None)
    queue = Text(load_default=None, metadata={IS_ALIAS: True})


class SlotSchema(WireSchema):
    """One slot of a worker."""

    slot_id = Text()
    queue_name = Text()
    worker_id = Text()
    started_at = Instant()
    heartbeat_at = Instant()
    current_job_id = Text(allow_none=True)


class QueueProcessSchema(SlotSchema):
    """One slot of a worker, in the reference's words."""

    slot_id = Text(data_key="process_id")
    worker_id = Text(data_key="host_id")


class ProcessesQuerySchema(AsksQueueSchema, WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.queues.list_slots`."""


class WorkerSlotSchema(WireSchema):
    """How many slots a worker has for one queue."""

    queue_name = Text()
    slots = WholeNumber()


class WorkerSchema(WireSchema):
    """One live worker with its load, in the reference's words."""

    worker_id = Text(attribute="worker.worker_id", data_key="host_id")
    worker_name = Text(attribute="worker.worker_name", allow_none=True)
    queues = List(Text(), attribute="worker.queues")
    slots = List(Nested(WorkerSlotSchema))
    workers_live = WholeNumber(attribute="live_slot_count")
    in_flight = WholeNumber(attribute="in_flight_count")
    heartbeat_at = Instant(attribute="worker.heartbeat_at")
    heartbeat_age_seconds = WholeNumber(attribute="heartbeat_age_s")


class WorkersOverviewSchema(WireSchema):
    """The live workers, and the queues that none of them serves."""

    workers = List(Nested(WorkerSchema))
    unassigned_queues = List(Text())


class StatusCountsSchema(WireSchema):
    """How many jobs of a queue are in each state."""

    pending = WholeNumber()
    scheduled = WholeNumber()
    in_progress = WholeNumber()
    done = WholeNumber()
    failed = WholeNumber()
    dead = WholeNumber()


class QueueOverviewSchema(WireSchema):
    """One registered queue."""

    name = Text(attribute="settings.name")
    paused = Flag(attribute="settings.paused")
    max_workers = WholeNumber(attribute="settings.max_workers")
    counts = Nested(StatusCountsSchema)
    slots = List(Nested(QueueProcessSchema), data_key="processes")
    retain_done_days = WholeNumber(attribute="settings.retain_done_for_days")
    retain_dead_days = WholeNumber(attribute="settings.retain_dead_for_days")
    backoff_enabled = Flag(attribute="settings.backoff_enabled")
    backoff_base_seconds = WholeNumber(attribute="settings.backoff_base_seconds")
    backoff_max_seconds = WholeNumber(attribute="settings.backoff_max_seconds")
    throttled_until = Instant(attribute="settings.throttled_until", allow_none=True)
    oldest_pending_age_seconds = WholeNumber(attribute="oldest_due_age_s")


class QueueDetailsSchema(QueueOverviewSchema):
    """One queue with the settings that the reference does not have."""

    slots = List(Nested(SlotSchema))
    max_pending = WholeNumber(attribute="settings.max_pending", allow_none=True)
    paused_at = Instant(attribute="settings.paused_at", allow_none=True)
    paused_by = Text(attribute="settings.paused_by", allow_none=True)
    pause_reason = Text(attribute="settings.pause_reason", allow_none=True)
    throttled_job_id = Text(attribute="settings.throttled_job_id", allow_none=True)
    throttled_kind = Text(attribute="settings.throttled_kind", allow_none=True)
    throttled_by = Text(attribute="settings.throttled_by", allow_none=True)
    throttle_cause = Text(attribute="settings.throttle_cause", allow_none=True)
    last_worker = Text(attribute="settings.last_worker", allow_none=True)
    last_served_at = Instant(attribute="settings.last_served_at", allow_none=True)


class OverviewQuerySchema(WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.queues.overview`."""

    only_live = Switch(data_key="live", load_default=False)


class MaxWorkersRequestSchema(V1Schema):
    """A change of a queue in the reference's terms, which its errors use too."""

    max_workers = WholeNumber(data_key="n", required=True, metadata=bounds.MAX_WORKERS)

    @post_load
    def check(self, changes: QueueChanges, **_: object) -> QueueChanges:
        """Check the bounds before the queue is looked up."""
        check_max_workers(changes["max_workers"], "n")
        return changes


class PausedRequestSchema(V1Schema):
    """A change of a queue in the reference's terms."""

    paused = Flag(required=True)


class NotedPausedRequestSchema(PausedRequestSchema):
    """The same below ``/v1``, with the reason."""

    reason = Text(load_default=None, metadata=bounds.REASON)


class CleanupRequestSchema(AsksQueueSchema, V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.queues.cleanup`."""

    dry_run = Flag(load_default=None)


class CleanupReportSchema(WireSchema):
    """How many finished jobs were deleted."""

    done_deleted = WholeNumber()
    dead_deleted = WholeNumber()


class RetentionRequestSchema(V1Schema):
    """A change of a queue in the reference's terms."""

    retain_done_for_days = WholeNumber(
        data_key="done_days", required=True, metadata=bounds.RETENTION_DAYS
    )
    retain_dead_for_days = WholeNumber(
        data_key="dead_days", required=True, metadata=bounds.RETENTION_DAYS
    )

    @post_load
    def check(self, changes: QueueChanges, **_: object) -> QueueChanges:
        """Check the bounds before the queue is looked up."""
        check_retention_days("done_days", changes["retain_done_for_days"])
        check_retention_days("dead_days", changes["retain_dead_for_days"])
        return changes


class BackoffRequestSchema(V1Schema):
    """A change of a queue in the reference's terms."""

    backoff_enabled = Flag(data_key="enabled", required=True)
    backoff_base_seconds = WholeNumber(
        data_key="base_seconds", required=True, metadata=bounds.BACKOFF_SECONDS
    )
    backoff_max_seconds = WholeNumber(
        data_key="max_seconds", required=True, metadata=bounds.BACKOFF_SECONDS
    )

    @post_load
    def check(self, changes: QueueChanges, **_: object) -> QueueChanges:
        """Check the bounds before the queue is looked up."""
        check_backoff(changes["backoff_base_seconds"], changes["backoff_max_seconds"])
        return changes


class QueueChangesRequestSchema(V1Schema):
    """The settings of a queue; loads as the model's changes."""

    max_workers = WholeNumber(metadata=bounds.MAX_WORKERS)
    paused = Flag()
    retain_done_for_days = WholeNumber(
        data_key="retain_done_days", is_signed=False, metadata=bounds.RETENTION_DAYS
    )
    retain_dead_for_days = WholeNumber(
        data_key="retain_dead_days", is_signed=False, metadata=bounds.RETENTION_DAYS
    )
    backoff_enabled = Flag()
    backoff_base_seconds = WholeNumber(is_signed=False, metadata=bounds.BACKOFF_SECONDS)
    backoff_max_seconds = WholeNumber(is_signed=False, metadata=bounds.BACKOFF_SECONDS)
    max_pending = WholeNumber(allow_none=True, metadata=bounds.MAX_PENDING)


class ChangeQueueRequestSchema(QueueChangesRequestSchema):
    """The same with the reason of a pause."""

    reason = Text(metadata=bounds.REASON)


class NewQueueRequestSchema(ChangeQueueRequestSchema):
    """The name of a new queue, and settings other than the defaults."""

    # A queue with the name of a route would be unreachable.
    name = Text(
        required=True,
        metadata=bounds.QUEUE_NAME,
        validate=NoneOf(["actions"], error="{input!r} is taken by the API itself"),
    )


class DeleteQueueQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.queues.delete`."""

    force = Switch(load_default=False)


class QueueActionRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.queues.act`."""

    action = Text(required=True, metadata=bounds.QUEUE_ACTION)
    queues = Array(
        Text(metadata=bounds.QUEUE_NAME), load_default=None, metadata=bounds.QUEUE_NAMES
    )
    seconds = WholeNumber(load_default=None, metadata=bounds.COOLDOWN_SECONDS)
    reason = Text(load_default=None, metadata=bounds.REASON)
    ends = Instant(load_default=None, metadata=bounds.without("seconds"))


class QueueActionReportSchema(V1Schema):
    """How many queues were changed."""

    changed = WholeNumber()
