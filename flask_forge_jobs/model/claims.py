"""Claims: what a worker and a reaper know of the jobs that run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class RunId(NamedTuple):
    """One claim of one job; attempts that are given back repeat, claims do not."""

    job_id: str
    claim: int


class ClaimedJob(NamedTuple):
    """What a worker needs of a job it owns; made straight from a row of the claim.

    ``payload``, ``error_history`` and ``carried`` are the stored JSON texts. The
    instants are all of the same clock, the database's on PostgreSQL. ``claim`` counts
    the job's claims.
    """

    id: str
    queue_name: str
    kind: str
    payload: str
    priority: int
    scheduled_at_us: int
    attempts: int
    max_attempts: int
    throttle_attempts: int
    error_history: str
    timeout_s: float | None
    enqueued_at_us: int = 0
    claimed_at_us: int = 0
    claim: int = 0
    carried: str | None = None

    @property
    def run_id(self) -> RunId:
        """Which run this is: no other one, of any job, has the same."""
        return RunId(self.id, self.claim)


class RunningJob(NamedTuple):
    """A claimed job as the reaper sees it; the heartbeat is a counter, not a time.

    ``silent_us`` is its age by the database's clock, which may have been changed since.
    """

    id: str
    attempts: int
    heartbeat_at_us: int
    worker_id: str
    silent_us: int = 0


@dataclass(frozen=True, slots=True)
class HeartbeatReport:
    """What the one heartbeat statement of a process found."""

    owned: frozenset[RunId]
    cancelled: frozenset[str]


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """What one round of the hot path brought.

    Args:
        claimed: Jobs now owned by the caller, per the demand, in claim order.
        refused: Ids of outcomes that were dropped because the caller no longer owned
            the job; nothing was changed for them.
        followed: Queue and kind of the jobs that follow some that ended.
    """

    claimed: list[ClaimedJob] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    followed: list[tuple[str, str]] = field(default_factory=list)
