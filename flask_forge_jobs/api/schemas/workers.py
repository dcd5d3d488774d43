"""Workers on the wire."""

from __future__ import annotations

from marshmallow.fields import List, Nested
from marshmallow.validate import OneOf

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    Digits,
    Fraction,
    Instant,
    LargeNumber,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.handlers.workers import DEFAULT_PAGE_SIZE
from flask_forge_jobs.model.worker_details import WorkerState


class QueueLoadSchema(V1Schema):
    """The slots of a worker for one queue."""

    queue_name = Text()
    slots = WholeNumber()
    idle_slots = WholeNumber()


class SlotRunSchema(V1Schema):
    """A slot and the job that it runs."""

    slot_id = Text()
    queue_name = Text()
    job_id = Text()
    kind = Text()
    started_at = Instant()
    run_ms = LargeNumber()


class RescuedJobSchema(V1Schema):
    """A job that ran when its worker was lost, and its state now."""

    job_id = Text()
    queue_name = Text()
    kind = Text()
    started_at = Instant()
    rescued_at = Instant()
    status = Text()
    ending = Text(allow_none=True)


class WorkerUseSchema(V1Schema):
    """CPU, memory and disk of a worker in a minute."""

    sampled_at = Instant()
    cpu_pct = Fraction()
    rss_bytes = LargeNumber()


class WorkerDetailSchema(V1Schema):
    """One worker."""

    worker_id = Text(attribute="worker.worker_id")
    worker_name = Text(attribute="worker.worker_name", allow_none=True)
    state = Text(
        attribute="worker.state", metadata={"enum": [str(each) for each in WorkerState]}
    )
    started_at = Instant(attribute="worker.started_at")
    heartbeat_at = Instant(attribute="worker.heartbeat_at")
    heartbeat_age_seconds = WholeNumber(attribute="worker.whole_heartbeat_age_s")
    lost_at = Instant(attribute="worker.lost_at", allow_none=True)
    version = Text(attribute="worker.version", allow_none=True)
    host = Text(attribute="worker.host", allow_none=True)
    pid = WholeNumber(attribute="worker.pid", allow_none=True)
    use = Nested(WorkerUseSchema, allow_none=True)
    slots = WholeNumber()
    idle_slots = WholeNumber()
    by_queue = List(Nested(QueueLoadSchema))
    running = List(Nested(SlotRunSchema))
    rescued = List(Nested(RescuedJobSchema))


class WorkerCountsSchema(V1Schema):
    """How many workers are in each state."""

    live = WholeNumber()
    late = WholeNumber()
    lost = WholeNumber()


class WorkerPageSchema(V1Schema):
    """One page of workers."""

    rows = List(Nested(WorkerDetailSchema))
    counts = Nested(WorkerCountsSchema)
    next_cursor = Text(allow_none=True)


class WorkersQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.workers.list_workers`."""

    queue = Text(load_default=None)
    state = Text(load_default=None, validate=OneOf([str(each) for each in WorkerState]))
    limit = Digits(load_default=DEFAULT_PAGE_SIZE, metadata=bounds.WORKERS)
    cursor = Text(load_default=None)
