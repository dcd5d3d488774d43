"""Who is working: a pod for each worker process, a process for each of its slots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

# A heartbeat older than this counts for nothing.
LIVE_WITHIN_S = 60.0
# A service is late when so many periods and so many seconds brought no tick.
LATE_PERIODS = 3
LATE_SLACK_S = 30.0


@dataclass(frozen=True, slots=True)
class Process:
    """One slot of a worker process.

    ``process_id`` is ``{queue}-{slot}-{host_id}-{incarnation}``; the incarnation counts
    up when a slot is replaced, so no two workers ever share an id.
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


def unserved_queues(names: Iterable[str], pods: Iterable[Pod]) -> list[str]:
    """Return the queues that none of the worker processes serves, sorted."""
    return sorted(set(names).difference(*(pod.queues for pod in pods)))


@dataclass(frozen=True, slots=True)
class ServiceAge:
    """How long ago a service of a worker process last did its work.

    Args:
        name: The service, such as ``cron``.
        age_s: Seconds since its last tick that succeeded.
        period_s: Seconds between two ticks of a service that is well.
    """

    name: str
    age_s: float
    period_s: float

    @property
    def whole_age_s(self) -> int:
        """The age in whole seconds."""
        return int(self.age_s)

    @property
    def is_late(self) -> bool:
        """Whether so many ticks are missing that something must be wrong."""
        return self.age_s > LATE_PERIODS * self.period_s + LATE_SLACK_S


@dataclass(frozen=True, slots=True)
class SlotReport:
    """What a worker process tells of one slot at its heartbeat."""

    process_id: str
    queue_name: str
    current_job_id: str | None = None


@dataclass(frozen=True, slots=True)
class QueueSlots:
    """How many slots a worker process gives one queue, at least 1."""

    queue_name: str
    slots: int


@dataclass(frozen=True, slots=True)
class Worker:
    """One live worker process with its load.

    Args:
        pod: The process.
        slots: What it gives each queue, by queue.
        live_slot_count: Slots whose own heartbeat is recent.
        in_flight_count: Of those, how many run a job.
        heartbeat_age_s: Whole seconds since the heartbeat, by the database's clock.
    """

    pod: Pod
    slots: Sequence[QueueSlots]
    live_slot_count: int
    in_flight_count: int
    heartbeat_age_s: int


@dataclass(frozen=True, slots=True)
class WorkersOverview:
    """The live worker processes, and the queues that none of them has a slot for."""

    workers: Sequence[Worker]
    unassigned_queues: Sequence[str]
