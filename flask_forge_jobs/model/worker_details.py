"""Workers as an operator sees them: their state, their jobs, the jobs of lost ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flask_forge_jobs.model.bounds import Choice
from flask_forge_jobs.model.workers import LIVE_WITHIN_S

# A heartbeat older than this is late: fifteen have been missed.
LATE_AFTER_S = 30.0


class WorkerState(Choice):
    """How a worker is, by its heartbeat.

    A lost one has been silent for a minute, or other workers have taken its jobs.
    """

    LIVE = "live"
    LATE = "late"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWorker:
    """A worker that has a row: it did not stop, and was not lost over an hour ago.

    Attributes:
        worker_id: Its id, new at every start.
        worker_name: Its name, or None.
        queues: The queues that it serves.
        heartbeat_at: Its last heartbeat.
        started_at: Its start.
        version: Version of this package, or None.
        host: Name of its machine or container, or None.
        pid: Its process id there, or None.
        lost_at: When other workers took its jobs, or None.
        heartbeat_age_s: Seconds since the heartbeat, by the database's clock.
        threads: How many jobs it runs at once, or None.
    """

    worker_id: str
    worker_name: str | None
    queues: Sequence[str]
    heartbeat_at: datetime
    started_at: datetime
    version: str | None
    host: str | None
    pid: int | None
    lost_at: datetime | None
    heartbeat_age_s: float
    threads: int | None = None

    @property
    def state(self) -> WorkerState:
        """How it is."""
        if self.lost_at is not None or self.heartbeat_age_s > LIVE_WITHIN_S:
            return WorkerState.LOST
        is_late = self.heartbeat_age_s > LATE_AFTER_S
        return WorkerState.LATE if is_late else WorkerState.LIVE

    @property
    def whole_heartbeat_age_s(self) -> int:
        """Whole seconds since the heartbeat; 0 if its clock was ahead."""
        return max(int(self.heartbeat_age_s), 0)


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """How many slots a worker has for a queue, and how many of them run no job.

    ``busy_slots`` ran one at the last report; a short one has ended since.
    """

    queue_name: str
    slots: int
    idle_slots: int
    busy_slots: int = 0


@dataclass(frozen=True, slots=True)
class SlotRun:
    """A slot and the job that it runs, as of the worker's last report.

    ``started_at`` is the claim, ``run_ms`` the milliseconds since then.
    """

    slot_id: str
    queue_name: str
    job_id: str
    kind: str
    started_at: datetime
    run_ms: int


@dataclass(frozen=True, slots=True)
class LongRun(SlotRun):
    """A slot of any worker and its job.

    ``worker_name`` is None if the worker has no name or no row, ``progress`` if the job
    has reported none; see :attr:`.Job.progress`.
    """

    worker_id: str
    worker_name: str | None = None
    progress: str | None = None


@dataclass(frozen=True, slots=True)
class RescuedJob:
    """A job that ran when its worker was lost, and its state now.

    ``status`` and ``ending`` are those of the job now; ``rescued_at`` is when other
    workers took it.
    """

    job_id: str
    queue_name: str
    kind: str
    started_at: datetime
    rescued_at: datetime
    status: str
    ending: str | None


@dataclass(frozen=True, slots=True)
class WorkerUse:
    """CPU, memory and disk of a worker in the minute from ``sampled_at`` on.

    ``cpu_pct`` is its share of all cores, ``rss_bytes`` its memory.
    """

    sampled_at: datetime
    cpu_pct: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Burden:
    """The present and past jobs of some workers, by worker id.

    ``is_whole`` is False if there are more runs or rescued jobs than are read.
    ``claimed`` are the numbers of jobs that a worker runs or has claimed ahead, if they
    were asked for and are not 0.
    """

    loads: dict[str, list[QueueLoad]]
    running: dict[str, list[SlotRun]]
    rescued: dict[str, list[RescuedJob]]
    use: dict[str, WorkerUse]
    is_whole: bool
    claimed: dict[str, int] = field(default_factory=dict)
