"""Worker slots on the wire."""

from __future__ import annotations

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas.fields import Instant, Text, WholeNumber, WireSchema
from flask_forge_jobs.api.schemas.naming import AsksQueue


class QueueProcess(WireSchema):
    """One slot of a worker process."""

    process_id = Text()
    queue_name = Text()
    host_id = Text()
    started_at = Instant()
    heartbeat_at = Instant()
    current_job_id = Text(allow_none=True)


class ProcessesQuery(AsksQueue, WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.processes.list_processes`."""


class WorkerSlot(WireSchema):
    """How many slots a worker process gives one queue."""

    queue_name = Text()
    slots = WholeNumber()


class Worker(WireSchema):
    """One live worker process, from the model's object of the same name."""

    host_id = Text(attribute="pod.host_id")
    worker_name = Text(attribute="pod.worker_name", allow_none=True)
    queues = List(Text(), attribute="pod.queues")
    slots = List(Nested(WorkerSlot))
    workers_live = WholeNumber(attribute="live_slot_count")
    in_flight = WholeNumber(attribute="in_flight_count")
    heartbeat_at = Instant(attribute="pod.heartbeat_at")
    heartbeat_age_seconds = WholeNumber(attribute="heartbeat_age_s")


class WorkersOverview(WireSchema):
    """The live worker processes and the queues that none of them serves."""

    workers = List(Nested(Worker))
    unassigned_queues = List(Text())
