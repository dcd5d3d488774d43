"""Jobs: their states, new ones with their bounds, and stored ones as they are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from flask_forge_jobs.model.bounds import (
    DEDUPE_KEY_LENGTH,
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_QUEUE,
    MAX_ATTEMPTS_RANGE,
    PRIORITY_RANGE,
    Choice,
    check_dedupe_for,
    check_integer,
    check_job_id,
    check_kind,
    check_payload_size,
    check_queue_name,
    check_run_at,
    check_text,
    check_timeout,
    checked_delay,
    checked_replace,
)
from flask_forge_jobs.model.claims import ErrorEntry
from flask_forge_jobs.model.copies import copy_fields
from flask_forge_jobs.model.dedupe_keys import stored_key
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import MICROSECOND, from_micros, to_micros
from flask_forge_jobs.model.links import OnParentDead, checked_ties
from flask_forge_jobs.model.origins import origin_of
from flask_forge_jobs.model.payloads import canonical

EMPTY_PAYLOAD = "{}"
MAX_BULK_JOBS = 10_000
# Of stored jobs; only requests are held to it.
DEFAULT_MAX_KINDS = 1000


class JobStatus(Choice):
    """The five states of a job; a ``failed`` one waits for a retry."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    FAILED = "failed"
    DEAD = "dead"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state has ended."""
        return self in FINAL


WAITING = (JobStatus.PENDING, JobStatus.FAILED)
UNFINISHED = (JobStatus.PENDING, JobStatus.IN_PROGRESS, JobStatus.FAILED)
# Only these may be requeued: finished work is never run again.
UNSUCCESSFUL = (JobStatus.FAILED, JobStatus.DEAD)
FINAL = (JobStatus.DONE, JobStatus.DEAD)


@dataclass(frozen=True, slots=True)
class NewJob:
    """One job to enqueue, checked on creation.

    Args:
        kind: Selects the task, 1 to 128 characters.
        payload: Any JSON value. A string counts as JSON text, so the value ``"hello"``
            is written ``'"hello"'``. The field holds canonical JSON text. An empty
            object by default.
        queue_name: Queue to wait in, 1 to 128 characters. None leaves the choice to a
            router, or to the storage, which takes ``default``.
        priority: Lower runs first; a signed 32-bit number.
        max_attempts: How often the job may run, 1 to 1000.
        dedupe_key: While an unfinished job holds the key, enqueueing returns that job;
            1 to 255 characters, or None.
        run_at: Earliest start; must have a zone. None or the past means now.
        timeout_s: Seconds that one attempt may take; None means no limit.
        schedule_name: The cron schedule that makes the job, or None.
        dedupe_for: A job with the key, in whatever state, also holds it if it was
            enqueued less than this long ago and is still stored (see the retention of
            its queue); 1 ms to 365 days, or None.
        replace: Values to replace in a pending holder of the key: ``payload``,
            ``run_at``, or both. None by default.
        job_id: Its id, chosen by the caller; None mints one.
        is_key_of_queue: The key is unique only among jobs of its queue that also say
            so; by default all queues share their keys.
        carried: JSON text of :attr:`TaskContext.carried`; None means nothing.
        delay: Earliest start after it is stored, by the clock of the database; a
            timedelta or seconds, 0 to 36,500 days. Excludes ``run_at``.
        after: Ids of up to 100 jobs or batches that have to end first.
        on_parent_dead: An :class:`.OnParentDead`, if one of them is not done then.
        batch_id: The batch that counts it, or None.

    Raises:
        InvalidInputError: A value is out of bounds or not strict JSON, or an option of
            dedupe keys has no key; names the field.
    """

    kind: str
    payload: Any = EMPTY_PAYLOAD
    queue_name: str | None = None
    priority: int = 0
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    dedupe_key: str | None = None
    run_at: datetime | None = None
    timeout_s: float | None = None
    schedule_name: str | None = None
    dedupe_for: timedelta | None = None
    replace: Collection[str] = ()
    job_id: str | None = None
    is_key_of_queue: bool = False
    carried: str | None = None
    delay: float | timedelta | None = None
    after: Sequence[str] = ()
    on_parent_dead: OnParentDead | str = OnParentDead.CANCEL
    batch_id: str | None = None

    def __post_init__(self) -> None:
        check_kind(self.kind)
        if self.queue_name is not None:
            check_queue_name(self.queue_name)
        check_integer("priority", self.priority, *PRIORITY_RANGE)
        check_integer("max_attempts", self.max_attempts, *MAX_ATTEMPTS_RANGE)
        if self.dedupe_key is not None:
            check_text("dedupe_key", self.dedupe_key, DEDUPE_KEY_LENGTH)
        if self.run_at is not None:
            check_run_at(self.run_at)
        if self.delay is not None:
            object.__setattr__(self, "delay", checked_delay(self.delay, self.run_at))
        if self.timeout_s is not None:
            check_timeout(self.timeout_s)
        if self.schedule_name is not None:
            check_queue_name(self.schedule_name, "schedule_name")
        if self.dedupe_for is not None:
            check_dedupe_for(self.dedupe_for, self.dedupe_key)
        if self.replace != ():
            chosen = checked_replace(self.replace, self.dedupe_key)
            object.__setattr__(self, "replace", chosen)
        if self.job_id is not None:
            check_job_id(self.job_id)
        if self.batch_id is not None:
            check_job_id(self.batch_id, "batch_id")
        if self.after != () or self.on_parent_dead is not OnParentDead.CANCEL:
            after, policy = checked_ties(self.after, self.on_parent_dead, self.job_id)
            object.__setattr__(self, "after", after)
            object.__setattr__(self, "on_parent_dead", policy)
        if self.payload is not EMPTY_PAYLOAD:
            object.__setattr__(self, "payload", canonical(self.payload))
        check_payload_size(self.payload)

    @property
    def queue(self) -> str:
        """The queue that it waits in if stored as it is."""
        return self.queue_name or DEFAULT_QUEUE

    @property
    def stored_key(self) -> str | None:
        """The dedupe key as stored."""
        if self.dedupe_key is None:
            return None
        owner = self.queue if self.is_key_of_queue else None
        return stored_key(self.dedupe_key, owner)

    @classmethod
    def of_canonical(cls, payload: str, **values: Any) -> NewJob:
        """Return a new job with text that :func:`.payloads.dump` made."""
        check_payload_size(payload)
        job = cls(**values)
        object.__setattr__(job, "payload", payload)
        return job

    def with_checked(self, **values: Any) -> NewJob:
        """Return the job with other values, which are not checked.

        A task's jobs often differ only in their payload, and all checks would cost more
        than the copy.
        """
        draft: Any = _Draft()
        copy_fields(self, draft)
        for name, value in values.items():
            setattr(draft, name, value)
        draft.__class__ = NewJob
        job: NewJob = draft
        return job

    def routed(self, router: Callable[[str], str]) -> NewJob:
        """Return the job with a queue to wait in; the router chooses if it has none."""
        if self.queue_name is not None:
            return self
        queue_name = router(self.kind)
        check_queue_name(queue_name)
        return self.with_checked(queue_name=queue_name)

    @property
    def start_us(self) -> int | None:
        """The earliest start in microseconds, None for now.

        Since the epoch or, if negative, how long after the job is stored.
        """
        if isinstance(self.delay, timedelta):
            return -(self.delay // MICROSECOND)
        return None if self.run_at is None else to_micros(self.run_at)

    def with_carried(self, carried: str | None) -> NewJob:
        """Return the job with carried JSON text; None changes nothing."""
        return self if carried is None else self.with_checked(carried=carried)


class _Draft:
    """The fields of a new job before it is one, while they may be written."""

    __slots__ = tuple(each.name for each in fields(NewJob))


class EnqueueResult(NamedTuple):
    """The result of enqueueing.

    ``id`` is the new job or the holder of the dedupe key; the other fields describe
    that job. A deduped payload is dropped, unless ``is_replaced`` says that it replaced
    the holder's. ``is_replayed`` marks the result of an earlier request with the same
    :class:`~flask_forge_jobs.model.request_keys.RequestKey`.
    """

    id: str
    is_deduped: bool
    queue_name: str
    kind: str
    status: JobStatus
    scheduled_at_us: int
    queue_created: bool = False
    is_replayed: bool = False
    is_replaced: bool = False

    @property
    def scheduled_at(self) -> datetime:
        """When the job may first start."""
        return from_micros(self.scheduled_at_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """A stored job as listed, without its large texts."""

    id: str
    queue_name: str
    kind: str
    status: JobStatus
    priority: int
    attempts: int
    max_attempts: int
    enqueued_at: datetime
    scheduled_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    last_error: str | None = None
    slot_id: str | None = None
    dedupe_key: str | None = None
    heartbeat_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    progress: str | None = None

    @property
    def running_progress(self) -> str | None:
        """The last progress report if it runs; see :attr:`Job.progress`."""
        return self.progress if self.status is JobStatus.IN_PROGRESS else None

    @property
    def ending(self) -> Ending | None:
        """Whether a ``dead`` job was given up or cancelled; None for other jobs."""
        if_dead = Ending.DEAD if self.cancel_requested_at is None else Ending.CANCELLED
        return if_dead if self.status is JobStatus.DEAD else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(JobSummary):
    """A stored job, as it was when it was read.

    Attributes:
        id: Its id, a ULID: ids sort by the time of the enqueue.
        queue_name: The queue that it waits in, or ran from.
        kind: Selects the task.
        status: Its :class:`.JobStatus`.
        priority: Lower runs first.
        attempts: Attempts so far, the one under way included.
        max_attempts: A failure of this attempt makes the job ``dead``.
        enqueued_at: When it was stored.
        scheduled_at: When it may start, or be tried again.
        started_at: When the last attempt began; None before the first.
        completed_at: When it became ``done`` or ``dead``; None before that.
        last_error: Type and text of the last exception, such as ``KeyError: 'id'``;
            up to 8 KiB, or None.
        slot_id: The slot that runs it, or the worker while the slot has not
            reported it yet; None while nothing runs it.
        dedupe_key: The key that it holds until it ends, or None.
        heartbeat_at: When its worker last renewed it; None while nothing runs it.
        payload: Canonical JSON text of its arguments.
        error_history: The last 32 failures, the oldest first; each has ``at``,
            ``attempt`` and ``message``, and the last one a ``traceback``.
        cancel_requested_at: When a user requested its cancellation, or None.
        throttle_attempts: How often in a row it was throttled or snoozed; from 10 on
            snoozes do not count.
        crashes: How often it was rescued from a lost worker.
        timeout_s: Seconds one attempt may take; None means no limit of its own.
        result: JSON text of what its task returned; None where nothing is kept.
        result_error: Why the result is not kept: no JSON, or over 64 KiB.
        progress: JSON text of the last progress report, with its time and rate (see
            :mod:`flask_forge_jobs.model.progress`), or None.
        schedule_name: The schedule that made it, or None.
        carried: JSON text of :attr:`.TaskContext.carried`, or None.
        signature: That of its last failure; None without one, or if it was cancelled.
        batch_id: The batch that counts it, or None.
        start_at: When it may start once the jobs that it waits for have ended, or None.
    """

    payload: str
    error_history: tuple[ErrorEntry, ...] = ()
    throttle_attempts: int = 0
    crashes: int = 0
    timeout_s: float | None = None
    result: str | None = None
    result_error: str | None = None
    schedule_name: str | None = None
    carried: str | None = None
    signature: str | None = None
    batch_id: str | None = None
    start_at: datetime | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for other jobs to end."""
        return self.status is JobStatus.PENDING and self.start_at is not None

    @property
    def origin(self) -> str | None:
        """What enqueued it; None if unknown.

        ``schedule NAME``, ``task KIND``, ``command NAME``, or the method and the rule
        of a request, such as ``POST /orders/<int:number>``.
        """
        if self.schedule_name is not None:
            return f"schedule {self.schedule_name}"
        return None if self.carried is None else origin_of(self.carried)

    @property
    def traceback(self) -> str | None:
        """Traceback of the last attempt's error, secrets masked."""
        return self.error_history[-1].traceback if self.error_history else None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; None, no kinds and no statuses filter nothing.

    Args:
        queues: Exact queue names; None means all, an empty tuple none.
        kinds: Exact kinds.
        statuses: States.
        scheduled: Also pending jobs with a later start.
        enqueued_from: Enqueued at or after this instant.
        enqueued_to: Enqueued at or before this instant.
        payload_search: Substring of the displayed JSON text, ignoring case.
        error_search: Substring of the last error, ignoring ASCII case.
        dedupe_key: Exact key.
        slot_id: Being run by this slot or worker.
        schedule_name: Made by this cron schedule.
        min_attempts: Started at least this often.
        ending: How a ``dead`` job ended.
        signature: Failed or dead by an error with this signature.
        batch_id: Counted by this batch.
        is_waiting: Only pending jobs that wait for others.
    """

    queues: Sequence[str] | None = None
    kinds: Sequence[str] = ()
    statuses: Sequence[JobStatus] = ()
    scheduled: bool = False
    enqueued_from: datetime | None = None
    enqueued_to: datetime | None = None
    payload_search: str | None = None
    error_search: str | None = None
    dedupe_key: str | None = None
    slot_id: str | None = None
    schedule_name: str | None = None
    min_attempts: int = 0
    ending: Ending | None = None
    signature: str | None = None
    batch_id: str | None = None
    is_waiting: bool = False

    def covers(self, queue_name: str, kind: str) -> bool:
        """Whether jobs of a queue and kind can match."""
        has_queue = self.queues is None or queue_name in self.queues
        return has_queue and (not self.kinds or kind in self.kinds)
