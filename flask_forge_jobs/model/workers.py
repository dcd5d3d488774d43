"""Workers, the processes that run jobs, and the slots that each of them has."""

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
class Slot:
    """One place in a worker, where one job runs at a time.

    ``slot_id`` is ``{queue}-{slot}-{worker_id}-{incarnation}``; the incarnation counts
    up when a slot is replaced, so no two slots ever share an id.
    """

    slot_id: str
    queue_name: str
    worker_id: str
    started_at: datetime
    heartbeat_at: datetime
    current_job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that runs jobs; it gets a fresh ``worker_id`` at every start."""

    worker_id: str
    worker_name: str | None
    queues: tuple[str, ...]
    heartbeat_at: datetime


def unserved_queues(names: Iterable[str], workers: Iterable[Worker]) -> list[str]:
    """Return the queues that none of the workers serves, sorted."""
    return sorted(set(names).difference(*(worker.queues for worker in workers)))


@dataclass(frozen=True, slots=True)
class ServiceAge:
    """How long ago a service of a worker last did its work.

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
    """What a worker tells of one slot at its heartbeat."""

    slot_id: str
    queue_name: str
    current_job_id: str | None = None


@dataclass(frozen=True, slots=True)
class QueueSlots:
    """How many slots a worker gives one queue, at least 1."""

    queue_name: str
    slots: int


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """One live worker with its load.

    Args:
        worker: The worker.
        slots: What it gives each queue, by queue.
        live_slot_count: Slots whose own heartbeat is recent.
        in_flight_count: Of those, how many run a job.
        heartbeat_age_s: Whole seconds since the heartbeat, by the database's clock.
    """

    worker: Worker
    slots: Sequence[QueueSlots]
    live_slot_count: int
    in_flight_count: int
    heartbeat_age_s: int


@dataclass(frozen=True, slots=True)
class WorkersOverview:
    """The live workers, and the queues that none of them has a slot for."""

    workers: Sequence[WorkerLoad]
    unassigned_queues: Sequence[str]
