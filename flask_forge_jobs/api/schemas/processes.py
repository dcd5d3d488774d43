"""Worker slots on the wire."""

from __future__ import annotations

from flask_forge_jobs.api.schemas.fields import Instant, Text, WireSchema


class QueueProcess(WireSchema):
    """One slot of a worker process."""

    process_id = Text()
    queue_name = Text()
    host_id = Text()
    started_at = Instant()
    heartbeat_at = Instant()
    current_job_id = Text()


class ProcessesQuery(WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.processes.list_processes`."""

    queue_name = Text(load_default=None)
