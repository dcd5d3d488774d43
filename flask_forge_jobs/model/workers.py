"""Workers, the processes that run jobs, and the slots that each of them has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

# A heartbeat older than this is stale.
LIVE_WITHIN_S = 60.0
# A service is late after this many periods plus this many seconds without a tick.
_LATE_PERIODS = 3
_LATE_SLACK_S = 30.0
MAX_SLOTS_PER_WORKER = 64
# How long a lost worker is still shown.
LOST_KEPT_S = 3600.0
# Most characters of the kinds of a worker; one with more reports no kinds.
MAX_KINDS_LENGTH = 65_536


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in a worker, where one job runs at a time.

    ``slot_id`` is ``{queue}-{slot}-{worker_id}-{incarnation}``; replacing a slot
    increments the incarnation, so ids are never shared.
    """

    slot_id: str
    queue_name: str
    worker_id: str
    started_at: datetime
    heartbeat_at: datetime
    current_job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that runs jobs; its ``worker_id`` is new at every start."""

    worker_id: str
    worker_name: str | None
    queues: tuple[str, ...]
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """The report of a worker about its process, with each heartbeat.

    Args:
        version: Of this package.
        host: Name of the machine or container.
        pid: Process id there.
        up_us: Microseconds since the worker started, by its monotonic clock.
        threads: How many jobs it runs at once.
        kinds: The kinds of its tasks, as :func:`kinds_to_text` returns them; None
            if they are unchanged.
    """

    version: str | None = None
    host: str | None = None
    pid: int | None = None
    up_us: int = 0
    threads: int | None = None
    kinds: str | None = None


def capacity(threads: int | None, slots: int, busy_slots: int = 0) -> int:
    """Return how many jobs a worker runs at once: its queues share its threads.

    No fewer than it runs now; ``threads`` of None are unknown.
    """
    limit = slots if threads is None else min(threads, slots)
    return max(limit, busy_slots)


def kinds_to_text(kinds: Iterable[str]) -> str:
    """Return kinds as a worker stores them; none of them if they are too many."""
    text = "\n".join(["", *kinds, ""])
    return text if len(text) <= MAX_KINDS_LENGTH else ""


def kinds_from_text(text: str | None) -> tuple[str, ...]:
    """Return the kinds in the text of a worker; None has none."""
    return tuple(filter(None, (text or "").split("\n")))


def unserved_queues(names: Iterable[str], workers: Iterable[Worker]) -> list[str]:
    """Return the queues that no worker serves, sorted."""
    return sorted(set(names).difference(*(worker.queues for worker in workers)))


@dataclass(frozen=True, slots=True)
class ServiceAge:
    """Seconds since the last successful tick of a worker's service.

    ``period_s`` is the time between two ticks of a healthy service.
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
        """Whether ticks are missing for so long that something must be wrong."""
        return self.age_s > _LATE_PERIODS * self.period_s + _LATE_SLACK_S


@dataclass(frozen=True, slots=True)
class SlotReport:
    """The state of one slot, sent with the heartbeat of its worker."""

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
    """A live worker with its load.

    Counts only slots with a recent heartbeat of their own. ``heartbeat_age_s`` is in
    whole seconds by the database's clock.
    """

    worker: Worker
    slots: Sequence[QueueSlots]
    live_slot_count: int
    in_flight_count: int
    heartbeat_age_s: int


@dataclass(frozen=True, slots=True)
class WorkersOverview:
    """The live workers, and the queues without a slot in any of them."""

    workers: Sequence[WorkerLoad]
    unassigned_queues: Sequence[str]


def shares(
    totals: Mapping[str, int], workers: Mapping[str, Collection[str]]
) -> dict[tuple[str, str], int]:
    """Return how many jobs of each queue each worker may run at once, at most 64.

    Every worker computes the shares itself. The same queues and workers give the same
    shares, so they need no leader and no messages.

    ``totals`` are the slots of each queue over all workers, its ``max_workers``.
    ``workers`` are the queues that each declares, by its id; none means all. Each
    worker gets the quotient. The remainder goes to those with the fewest slots so far;
    ties are broken in an order that differs per queue, so that small queues do not all
    end up in one worker.
    """
    load: Counter[str] = Counter()
    by_worker: dict[tuple[str, str], int] = {}
    for queue in sorted(totals):
        serving = [
            worker for worker, names in workers.items() if not names or queue in names
        ]
        if not serving:
            continue
        quotient, remainder = divmod(totals[queue], len(serving))
        serving.sort(key=lambda worker: (load[worker], _turn(queue, worker), worker))
        for place, worker in enumerate(serving):
            share = min(quotient + (place < remainder), MAX_SLOTS_PER_WORKER)
            by_worker[queue, worker] = share
            load[worker] += share
    return by_worker


def slot_number(slot_id: str | None, queue_name: str) -> int | None:
    """Return the number of a slot in its queue and worker; None without one.

    ``slot_id`` may be a worker's id, of a job that no slot has reported yet.
    """
    prefix = f"{queue_name}-"
    if slot_id is None or not slot_id.startswith(prefix):
        return None
    number = slot_id[len(prefix) :].partition("-")[0]
    return int(number) if number.isdecimal() else None


def _turn(queue: str, worker: str) -> int:
    return crc32(f"{queue}\0{worker}".encode())
