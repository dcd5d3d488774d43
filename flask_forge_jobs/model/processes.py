"""Who is working: a pod for each worker process, a process for each of its slots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Process:
    """One slot of a worker process.

    ``process_id`` is ``{queue}-{slot}-{host_id}-{incarnation}``; the incarnation counts
    up when a slot is replaced, so no two workers ever share an id (D3).
    """

    process_id: str
    queue_name: str
    host_id: str
    started_at: datetime
    heartbeat_at: datetime
    current_job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """One worker process; its ``host_id`` is fresh at every start and owns jobs."""

    host_id: str
    worker_name: str | None
    queues: tuple[str, ...]
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True)
class SlotReport:
    """What a worker process tells of one slot at its heartbeat."""

    process_id: str
    queue_name: str
    current_job_id: str | None = None
