"""Facts about the whole system at one moment, from which needs are judged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from flask_forge_jobs.model.proportions import Failures
from flask_forge_jobs.model.queues import BEHIND_S, QueueCounts
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.model.workers import LIVE_WITHIN_S, ServiceAge, capacity


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """A registered queue. Slots are those with a recent heartbeat."""

    name: str
    max_workers: int = 1
    is_paused: bool = False
    # Seconds until the cool-down ends; None without one.
    cools_for_s: float | None = None
    max_pending: int | None = None
    counts: QueueCounts = field(default_factory=QueueCounts)
    # How long a claimable job has been due.
    oldest_wait_s: int = 0
    slots: int = 0
    busy_slots: int = 0
    paused_for_s: float | None = None
    paused_by: str | None = None
    pause_reason: str | None = None
    # The kind and the id of the throttled job that began the cool-down, or an operator.
    throttled_kind: str | None = None
    throttled_job_id: str | None = None
    throttled_by: str | None = None
    throttle_cause: str | None = None
    # The worker that served it last, and when that was.
    last_worker: str | None = None
    last_served_s: float | None = None

    @property
    def waiting(self) -> int:
        """Jobs that are due, or wait for their next attempt."""
        return self.counts.waiting

    @property
    def running(self) -> int:
        """Jobs in slots, as of the last reports."""
        return min(self.busy_slots, self.counts.in_progress)

    @property
    def is_full(self) -> bool:
        """Whether producers are refused."""
        waiting = self.waiting + self.counts.scheduled
        return self.max_pending is not None and waiting >= self.max_pending


@dataclass(frozen=True, slots=True)
class KindFacts:
    """The jobs of one kind in one queue, and how its runs ended.

    ``hour`` is about the last hour, ``hour_before`` the one before it, ``day`` the rest
    of today and of the day before. ``error`` is the most common one of the last hour,
    without its numbers and ids.
    """

    queue_name: str
    kind: str
    waiting: int = 0
    dead: int = 0
    completed: int = 0
    given_up: int = 0
    hour: Failures = field(default_factory=Failures)
    hour_before: Failures = field(default_factory=Failures)
    day: Failures = field(default_factory=Failures)
    error: str | None = None
    # False if every live worker of the queue says that it has no task for it.
    is_known: bool = True


class Rescued(NamedTuple):
    """How many jobs of a queue a lost worker left, and how many of them are dead."""

    queue_name: str
    jobs: int
    dead: int


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker, live or lost within the last hour.

    ``silent_s`` is the age of its heartbeat; ``is_lost`` tells whether other workers
    have taken its jobs. Its queues share its ``threads``, None if it does not say;
    each of its ``slots`` is of one queue.
    """

    id: str
    name: str | None = None
    queues: tuple[str, ...] = ()
    silent_s: float = 0.0
    services: tuple[ServiceAge, ...] = ()
    is_lost: bool = False
    rescued: tuple[Rescued, ...] = ()
    threads: int | None = None
    slots: int = 0
    busy_slots: int = 0

    @property
    def capacity(self) -> int:
        """How many jobs it runs at once."""
        return capacity(self.threads, self.slots, self.busy_slots)

    @property
    def label(self) -> str:
        """Its name, or its id without one."""
        return self.name or self.id

    @property
    def is_live(self) -> bool:
        """Whether its heartbeat is recent."""
        return not self.is_lost and self.silent_s <= LIVE_WITHIN_S


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """An enabled schedule that is overdue, or whose last firing failed."""

    name: str
    kind: str
    queue_name: str | None
    # The instant that it should have fired at.
    due_at: datetime
    error: str | None


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """A rate limit with a line of jobs; the last one waits ``line_s`` seconds."""

    scope: str
    refill_per_sec: float
    line_s: float
    tokens_due: int


@dataclass(frozen=True, slots=True)
class HeldFacts:
    """A job that waits on for a parent that is dead or, if ``is_gone``, deleted.

    ``parent_name`` is the kind of a job or the name of a batch. The batch is the job's
    own. What the caller may not know is None.
    """

    job_id: str
    queue_name: str
    kind: str
    batch_id: str | None = None
    batch_name: str | None = None
    parent_id: str | None = None
    parent_name: str | None = None
    parent_queue: str | None = None
    is_batch: bool = False
    is_gone: bool = False
    error: str | None = None

    def limited_to(self, names: Collection[str]) -> HeldFacts:
        """Return what a caller may know of it; batches may have jobs in all queues."""
        own = replace(self, batch_id=None, batch_name=None)
        if self.parent_queue in names:
            return own
        return replace(
            own, parent_id=None, parent_name=None, parent_queue=None, error=None
        )


@dataclass(frozen=True, slots=True)
class OpenBatchFacts:
    """An open batch to which its producer has added nothing for ``quiet_s`` seconds."""

    id: str
    name: str
    quiet_s: float
    jobs: int = 0
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """The 95th percentiles of one sort of calls, in seconds: medians over workers.

    ``now_s`` is of the last minutes, ``usual_s`` of the last day.
    """

    calls: str
    now_s: float
    usual_s: float


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """An old transaction of a session of this database."""

    holder: str
    application: str
    age_s: float


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The state of the database.

    Callers that are limited to queues get only the facts that stop their jobs.
    """

    # Why this code cannot use the schema, or not all of it.
    schema_fault: str | None = None
    schema_stored: int = 0
    schema_known: int = 0
    times: Sequence[AnswerTimes] = ()
    transactions: Sequence[OpenTransaction] = ()
    # The shortest time for which another connection has kept the write lock of SQLite.
    write_locked_s: float | None = None
    # Each a warning about connections that may damage the file.
    hazards: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The system at one moment, by the clock of the database.

    ``is_whole`` is False for the facts of a caller that is limited to some queues,
    ``is_read`` if nothing but the schema could be read. ``behind_s`` is how long the
    oldest due job of a queue may wait.
    """

    at: datetime
    queues: Sequence[QueueFacts] = ()
    kinds: Sequence[KindFacts] = ()
    workers: Sequence[WorkerFacts] = ()
    schedules: Sequence[ScheduleFacts] = ()
    limits: Sequence[LimitFacts] = ()
    held: Sequence[HeldFacts] = ()
    open_batches: Sequence[OpenBatchFacts] = ()
    database: DatabaseFacts = field(default_factory=DatabaseFacts)
    is_whole: bool = True
    is_read: bool = True
    behind_s: float = BEHIND_S

    @property
    def live(self) -> list[WorkerFacts]:
        """The workers whose heartbeat is recent."""
        return [worker for worker in self.workers if worker.is_live]

    @property
    def running(self) -> int:
        """Jobs in slots, as of the last reports; workers claim others ahead.

        A short job of one queue may have ended since, and one of another begun.
        """
        busy = sum(queue.busy_slots for queue in self.queues)
        return min(busy, sum(queue.counts.in_progress for queue in self.queues))

    @property
    def capacity(self) -> int:
        """How many jobs of these queues run at once."""
        slots = sum(queue.slots for queue in self.queues)
        limit = min(sum(worker.capacity for worker in self.live), slots)
        return max(limit, self.running)

    @property
    def served(self) -> set[str]:
        """The queues that a live worker serves."""
        return {name for worker in self.live for name in worker.queues}

    def limited_to(self, names: Collection[str]) -> Facts:
        """Return the facts that a caller with limited queues may know.

        It has no facts of other queues, or without a queue.
        """
        database = DatabaseFacts(
            schema_fault=self.database.schema_fault,
            schema_stored=self.database.schema_stored,
            schema_known=self.database.schema_known,
            write_locked_s=self.database.write_locked_s,
        )
        workers = [
            replace(
                worker,
                queues=tuple(name for name in worker.queues if name in names),
                services=(),
                rescued=tuple(
                    each for each in worker.rescued if each.queue_name in names
                ),
            )
            for worker in self.workers
        ]
        return Facts(
            self.at,
            [queue for queue in self.queues if queue.name in names],
            [kind for kind in self.kinds if kind.queue_name in names],
            [worker for worker in workers if worker.queues],
            [each for each in self.schedules if each.queue_name in names],
            held=[e.limited_to(names) for e in self.held if e.queue_name in names],
            database=database,
            is_whole=False,
            is_read=self.is_read,
            behind_s=self.behind_s,
        )


Need = tuple[int, Sentence]
"""How many jobs are concerned, and the sentence that says so."""
