"""Evidence: the facts about a job or a queue that explain why it does not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.limits import RateLimit

# Jobs before another one are counted no further.
MAX_AHEAD = 10_000
# Jobs that are named as holders of a limit or of slots.
MAX_NAMED_JOBS = 20
# The latest buckets of ten seconds with runs of a kind, for its usual run time.
MAX_RUN_TIMES = 60
DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class JobFacts:
    """The fields of a job's row that explain it; instants are UTC."""

    id: str
    queue_name: str
    kind: str
    status: JobStatus
    priority: int
    attempts: int
    max_attempts: int
    enqueued_at: datetime
    scheduled_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    last_error: str | None
    slot_id: str | None
    worker_id: str | None
    dedupe_key: str | None
    claims: int
    throttle_attempts: int
    concurrency_key: str | None
    admitted_at: datetime | None
    cancel_requested_at: datetime | None
    cancel_reason: str | None
    timeout_s: float | None
    start_at: datetime | None
    # Jobs and batches that it still waits for.
    waiting_for: int
    batch_id: str | None


@dataclass(frozen=True, slots=True)
class KnownWorker:
    """A worker that is live, silent or lost.

    ``knows_kind`` is None if it does not say, and ``kinds`` are only given if it is
    False. ``slots`` are those of the queue; ``running`` counts all its jobs and
    ``running_here`` those of the queue.
    """

    worker_id: str
    label: str
    host: str | None
    queues: Sequence[str]
    kinds: Sequence[str]
    seen_at: datetime
    is_live: bool
    threads: int | None
    knows_kind: bool | None
    slots: int
    running: int
    running_here: int

    @property
    def is_full(self) -> bool:
        """Whether no job of the queue could start there now."""
        has_thread = self.threads is None or self.running < self.threads
        return not has_thread or self.running_here >= self.slots


@dataclass(frozen=True, slots=True)
class NamedJob:
    """A job that holds something; ``since`` is its start, if it runs."""

    id: str
    queue_name: str
    kind: str
    since: datetime | None = None
    worker_id: str | None = None


@dataclass(frozen=True, slots=True)
class KnownParent:
    """A job or a batch for which a job waits, or with which it has died.

    ``name`` is the kind of a job or the name of a batch. ``status`` is that of a job,
    ``running`` or ``dead`` of a batch, and ``deleted`` if it is gone; ``since`` is when
    it started, if it runs, and ``error`` its last one, if it is dead.
    """

    id: str
    name: str
    is_batch: bool
    queue_name: str | None
    status: str
    since: datetime | None = None
    error: str | None = None

    @property
    def has_died(self) -> bool:
        """Whether nothing but a retry or a release lets the job go on."""
        return self.status in (JobStatus.DEAD.value, DELETED)


@dataclass(frozen=True, slots=True)
class CancelledBatch:
    """The batch of a job, which was cancelled."""

    id: str
    name: str
    cancelled_at: datetime


@dataclass(slots=True)
class Evidence:
    """The facts around a job or a queue, at one moment of the database's clock.

    ``started`` jobs of the queue have started since ``counted_since``, within an hour.
    ``ahead`` jobs start before this one; no more than ``MAX_AHEAD`` + 1 are counted.
    """

    now: datetime
    schema_version: int = 0
    oldest_reader: int = 0
    workers: list[KnownWorker] = field(default_factory=list)
    running: list[NamedJob] = field(default_factory=list)
    holders: list[NamedJob] = field(default_factory=list)
    key_holder: NamedJob | None = None
    ahead: int = 0
    started: int = 0
    counted_since: datetime | None = None
    run_times: Histogram = field(default_factory=Histogram)
    rate_limit: RateLimit | None = None
    own_kinds: set[str] = field(default_factory=set)
    # The dead ones first.
    parents: list[KnownParent] = field(default_factory=list)
    batch: CancelledBatch | None = None
