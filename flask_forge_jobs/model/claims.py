"""Claims: running jobs as workers and the reaper know them, with earlier errors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flask_forge_jobs.model.instants import format_instant, from_micros

REAPED_MESSAGE = "reaped after stale heartbeat"
MAX_ERROR_HISTORY = 32
# A worker that nothing wakes reads no later than that when its next job is due.
LONGEST_SLEEP_S = 5.0


class RunId(NamedTuple):
    """One claim of one job; unlike attempts, claim numbers never repeat."""

    job_id: str
    claim: int


class ClaimedJob(NamedTuple):
    """A claimed job for its worker, made from a row of the claim.

    ``payload``, ``error_history`` and ``carried`` are stored JSON texts. All instants
    are of one clock, on PostgreSQL the database's. ``claimed_at_us`` is the column
    ``started_at``, ``claim`` numbers the job's claims, ``has_key`` tells whether it has
    a dedupe key, and ``crashes`` counts the workers that died while they held it.
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
    error_history: str | None
    timeout_s: float | None
    enqueued_at_us: int = 0
    claimed_at_us: int = 0
    claim: int = 0
    carried: str | None = None
    has_key: bool = False
    crashes: int = 0

    @property
    def run_id(self) -> RunId:
        """Identifies this run among those of all jobs."""
        return RunId(self.id, self.claim)


def in_claim_order(rows: Iterable[Sequence[Any]]) -> list[ClaimedJob]:
    """Return claimed jobs in order; rows that a statement returns have none."""
    jobs = list(map(ClaimedJob._make, rows))
    if len(jobs) > 1:
        jobs.sort(key=lambda job: (job.priority, job.scheduled_at_us, job.id))
    return jobs


def may_be_claimed_ahead(attempts: int, max_attempts: int, crashes: int) -> bool:
    """Whether a claimed job may wait for a slot; ``attempts`` includes this claim.

    If its process died, nobody would know whether it had started. A job in its last
    attempt could end without that run, and a job that has seen a crash would be blamed
    for another.
    """
    return attempts < max_attempts and not crashes


class RunningJob(NamedTuple):
    """A claimed job for the reaper; the heartbeat is a counter, not a time.

    ``silent_us`` is its age by the database's clock, which may have stepped since.
    """

    id: str
    attempts: int
    heartbeat_at_us: int
    worker_id: str
    silent_us: int = 0


@dataclass(frozen=True, slots=True)
class HeartbeatReport:
    """The runs a process still holds, and the ids of jobs to cancel."""

    owned: frozenset[RunId]
    cancelled: frozenset[str]


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """The result of one round of the hot path.

    ``claimed`` is in claim order, ``refused`` has the ids of dropped outcomes whose job
    the caller no longer held, and ``noted`` the batches whose counts are still to be
    folded. If ``look_in_s`` is set, there may be jobs that a claim after so many
    seconds would find.
    """

    claimed: list[ClaimedJob] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    noted: AbstractSet[str] = frozenset()
    look_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """An entry of a job's error history; only the newest has a traceback."""

    at: str
    attempt: int
    message: str
    traceback: str | None = None


def append_entry(
    history: str | None,
    *,
    at_us: int,
    attempt: int,
    message: str,
    traceback: str | None = None,
) -> str:
    """Return a history with one more entry at its end, cut to the newest 32.

    Only that entry keeps its traceback, because every claim reads the whole text. A
    damaged history restarts.
    """
    try:
        entries = json.loads(history or "[]")
    except ValueError:
        entries = []
    if not isinstance(entries, list):
        entries = []
    for entry in entries:
        if isinstance(entry, dict):
            entry.pop("traceback", None)
    at = format_instant(from_micros(at_us))
    entry = {"at": at, "attempt": attempt, "message": message}
    if traceback is not None:
        entry["traceback"] = traceback
    entries.append(entry)
    return json.dumps(entries[-MAX_ERROR_HISTORY:], separators=(",", ":"))


def entry_around_attempt(at_us: int, message: str) -> tuple[str, str]:
    """Return the text of an entry before and behind the number of its attempt."""
    entry = append_entry(None, at_us=at_us, attempt=0, message=message)[1:-1]
    before, mark, behind = entry.partition('"attempt":')
    return before + mark, behind.removeprefix("0")


def append_error(
    job: ClaimedJob, message: str, at_us: int, traceback: str | None = None
) -> str:
    """Return a claimed job's history with the error of this attempt."""
    return append_entry(
        job.error_history,
        at_us=at_us,
        attempt=job.attempts,
        message=message,
        traceback=traceback,
    )
