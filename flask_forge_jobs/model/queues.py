"""A queue's settings, their bounds, its counts, and its back-off.

The back-off is how long jobs wait after a failure, and the queue after a throttle. Its
curve is ``min(base * 2 ** n, maximum)`` with ``n`` from 0 to 30, as in the reference,
once an operator has enabled it. ``docs/explanation/decisions.rst`` lists the
differences from the reference under *Retries and throttling*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_integer, check_queue_name

if TYPE_CHECKING:
    from flask_forge_jobs.model.workers import Slot

# Worker threads set the real limit; a queue has one only if an operator says so. 64 is
# the reference's largest total and the most that one process runs.
DEFAULT_MAX_WORKERS = 64
MAX_WORKERS_RANGE = (0, 1024)
RETENTION_DAYS_RANGE = (0, 36_500)
BACKOFF_SECONDS_RANGE = (1, 86_400)
MAX_PENDING_RANGE = (1, 1_000_000_000)
COOLDOWN_SECONDS_RANGE = (1, 86_400)
# A queue whose oldest due job waits for longer is behind.
BEHIND_S = 300.0
# An oldest wait below this part of the one that is behind is good.
GOOD_PART = 5
# A bound of the queues, so that enqueues cannot create them without end.
DEFAULT_MAX_QUEUES = 1000
# A success within this many seconds of a cool-down's end keeps the exponent.
COOLDOWN_DECAY_GRACE_S = 120
# A job that lost its worker has already waited for a lease.
_RESCUED_DELAY_S = 1.0
_FLAT_THROTTLE_DELAY_S = 60.0
MAX_THROTTLE_DELAY_S = 86_400.0
_MAX_EXPONENT = 30
_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The stored settings of one queue.

    ``max_workers`` is the total over the whole cluster. A ``throttled_until`` in the
    past has no effect. ``max_pending`` is how many jobs may wait, also for later and
    for a retry, before producers are refused; None sets no bound.

    ``paused_by`` and ``pause_reason`` are an operator's; None if none was given. A
    cool-down is the effect of a throttled job, ``throttled_job_id``, or else of an
    operator, ``throttled_by``; ``throttle_cause`` is the reason of either.
    ``last_worker`` is the name or the id of the worker that served the queue last; its
    time is up to a minute late while it does.
    """

    name: str
    max_workers: int = DEFAULT_MAX_WORKERS
    paused: bool = False
    retain_done_for_days: int = 7
    retain_dead_for_days: int = 30
    backoff_enabled: bool = False
    backoff_base_seconds: int = 60
    backoff_max_seconds: int = 1800
    throttle_attempts: int = 0
    throttled_until: datetime | None = None
    updated_at: datetime | None = None
    max_pending: int | None = None
    paused_at: datetime | None = None
    paused_by: str | None = None
    pause_reason: str | None = None
    throttled_job_id: str | None = None
    throttled_kind: str | None = None
    throttled_by: str | None = None
    throttle_cause: str | None = None
    last_worker: str | None = None
    last_served_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether a worker may start jobs: not paused, and with slots."""
        return not self.paused and self.max_workers > 0


class QueueChanges(TypedDict, total=False):
    """The settings to change, of those that an operator may change."""

    max_workers: int
    paused: bool
    retain_done_for_days: int
    retain_dead_for_days: int
    backoff_enabled: bool
    backoff_base_seconds: int
    backoff_max_seconds: int
    max_pending: int | None


@dataclass(frozen=True, slots=True)
class ChangeNote:
    """The author of a change, and the reason given; None if unknown.

    ``reason`` has at most 1,000 characters.
    """

    by: str | None = None
    reason: str | None = None


NO_NOTE = ChangeNote()


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Jobs in each state; ``pending`` ones are due, ``scheduled`` ones start later."""

    pending: int = 0
    scheduled: int = 0
    in_progress: int = 0
    done: int = 0
    failed: int = 0
    dead: int = 0

    @property
    def waiting(self) -> int:
        """Jobs that are due, or wait for their next attempt."""
        return self.pending + self.failed

    @property
    def total(self) -> int:
        """All jobs of the queue."""
        return self.waiting + self.scheduled + self.in_progress + self.done + self.dead


@dataclass(frozen=True, slots=True)
class QueueOverview:
    """A registered queue with its numbers and slots.

    ``oldest_due_age_s`` is how long a claimable job has been due, in whole seconds.
    """

    settings: QueueSettings
    counts: QueueCounts
    slots: Sequence[Slot]
    oldest_due_age_s: int


@dataclass(frozen=True, slots=True)
class QueueDeletion:
    """The fate of the unfinished jobs of a deleted queue."""

    deleted: int = 0
    cancel_requested: int = 0


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """The deletions of a sweep, real or simulated; incomplete if it stopped early."""

    done_deleted: int = 0
    dead_deleted: int = 0
    is_complete: bool = True


def one_too_many(
    name: str, max_queues: int, field: str = "queue_name"
) -> InvalidInputError:
    """Return the error for a queue beyond the allowed number."""
    return InvalidInputError(
        field,
        f"{name!r} is not registered, and there are already {max_queues} queues, the "
        "limit set by FORGE_JOBS_MAX_QUEUES",
    )


def check_max_workers(value: int, field: str = "max_workers") -> int:
    """Return ``value`` or raise :class:`InvalidInputError` outside 0 to 1024."""
    return check_integer(field, value, *MAX_WORKERS_RANGE)


def check_retention_days(field: str, value: int) -> int:
    """Return ``value`` or raise :class:`InvalidInputError` outside 0 to 36500."""
    return check_integer(field, value, *RETENTION_DAYS_RANGE)


def check_backoff(base_seconds: int, max_seconds: int, prefix: str = "") -> None:
    """Check a back-off curve: 1 to 86400 seconds, the maximum not below the base.

    The first retry waits twice the base. ``prefix`` precedes both names in errors.
    """
    base, longest = f"{prefix}base_seconds", f"{prefix}max_seconds"
    check_integer(base, base_seconds, *BACKOFF_SECONDS_RANGE)
    check_integer(longest, max_seconds, *BACKOFF_SECONDS_RANGE)
    if max_seconds < base_seconds:
        raise InvalidInputError(
            longest, f"{max_seconds} is below {base} ({base_seconds})"
        )


def check_settings(settings: QueueSettings) -> None:
    """Check every setting that an operator may change, under its name on the wire."""
    check_queue_name(settings.name, "name")
    check_max_workers(settings.max_workers)
    check_retention_days("retain_done_days", settings.retain_done_for_days)
    check_retention_days("retain_dead_days", settings.retain_dead_for_days)
    check_backoff(
        settings.backoff_base_seconds, settings.backoff_max_seconds, "backoff_"
    )
    if settings.max_pending is not None:
        check_integer("max_pending", settings.max_pending, *MAX_PENDING_RANGE)


def _curve(exponent: int, queue: QueueSettings) -> float:
    n = min(max(exponent, 0), _MAX_EXPONENT)
    base = max(queue.backoff_base_seconds, 1)
    maximum = max(queue.backoff_max_seconds, 1)
    return float(min(base * 2**n, maximum))


def failure_delay_s(
    attempts: int,
    queue: QueueSettings,
    jitter: Callable[[], float] | None = None,
    *,
    otherwise_s: float = _RESCUED_DELAY_S,
) -> float:
    """Return the seconds until the next attempt of a job that has made ``attempts``.

    ``jitter`` returns a number in [0, 1) and adds up to 10 % to the curve, so that jobs
    do not return together. Without a queue's back-off, it is ``otherwise_s``.
    """
    if not queue.backoff_enabled:
        return otherwise_s
    delay = _curve(attempts, queue)
    if jitter is not None:
        delay *= 1 + _JITTER * jitter()
    return delay


def throttle_delay_s(queue: QueueSettings, retry_after_s: float) -> float:
    """Return the seconds that a queue cools down after a throttle, at most 24 hours.

    This is the curve, or the remote side's hint if that is longer.
    """
    flat = _FLAT_THROTTLE_DELAY_S
    curve = _curve(queue.throttle_attempts, queue) if queue.backoff_enabled else flat
    return min(max(curve, retry_after_s), MAX_THROTTLE_DELAY_S)
