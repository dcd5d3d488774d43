"""Worker slots on the wire."""

from __future__ import annotations

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas.fields import Instant, Text, WholeNumber, WireSchema
from flask_forge_jobs.api.schemas.queue_names import AsksQueue


class Slot(WireSchema):
    """One slot of a worker."""

    slot_id = Text()
    queue_name = Text()
    worker_id = Text()
    started_at = Instant()
    heartbeat_at = Instant()
    current_job_id = Text(allow_none=True)


class QueueProcess(Slot):
    """One slot of a worker, in the reference's words."""

    slot_id = Text(data_key="process_id")
    worker_id = Text(data_key="host_id")


class ProcessesQuery(AsksQueue, WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.workers.list_slots`."""


class WorkerSlot(WireSchema):
    """How many slots a worker has for one queue."""

    queue_name = Text()
    slots = WholeNumber()


class Worker(WireSchema):
    """One live worker with its load, in the reference's words."""

    worker_id = Text(attribute="worker.worker_id", data_key="host_id")
    worker_name = Text(attribute="worker.worker_name", allow_none=True)
    queues = List(Text(), attribute="worker.queues")
    slots = List(Nested(WorkerSlot))
    workers_live = WholeNumber(attribute="live_slot_count")
    in_flight = WholeNumber(attribute="in_flight_count")
    heartbeat_at = Instant(attribute="worker.heartbeat_at")
    heartbeat_age_seconds = WholeNumber(attribute="heartbeat_age_s")


class WorkersOverview(WireSchema):
    """The live workers, and the queues that none of them serves."""

    workers = List(Nested(Worker))
    unassigned_queues = List(Text())
