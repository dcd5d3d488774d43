"""A queue's settings, their bounds, and its counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_integer

DEFAULT_QUEUE = "default"
# Threads decide how much a worker offers; a queue is only limited when an operator
# says so. 64 is the reference's largest total and the most one process runs (D56).
DEFAULT_MAX_WORKERS = 64
MAX_WORKERS_PER_PROCESS = 64
MAX_WORKERS_RANGE = (0, 1024)
RETENTION_DAYS_RANGE = (0, 36_500)
BACKOFF_SECONDS_RANGE = (1, 86_400)
# A success within this many seconds of a cool-down's end leaves the exponent alone.
COOLDOWN_DECAY_GRACE_S = 120


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The stored settings of one queue.

    ``max_workers`` is the total over the whole cluster. ``throttled_until`` may lie in
    the past: a deadline that has gone by no longer gates the queue.
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


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many jobs a queue holds in each state.

    ``pending`` jobs are due now, ``scheduled`` ones are pending with a later start; the
    two never overlap.
    """

    pending: int = 0
    scheduled: int = 0
    in_progress: int = 0
    done: int = 0
    failed: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        """All jobs of the queue."""
        return (
            self.pending
            + self.scheduled
            + self.in_progress
            + self.done
            + self.failed
            + self.dead
        )


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What a sweep of finished jobs deleted, or would delete.

    ``is_complete`` is False when the sweep stopped before its end.
    """

    done_deleted: int = 0
    dead_deleted: int = 0
    is_complete: bool = True


def check_max_workers(value: int, field: str = "n") -> int:
    """Return ``value`` or raise :class:`InvalidInputError` outside 0 to 1024."""
    return check_integer(field, value, *MAX_WORKERS_RANGE)


def check_retention_days(field: str, value: int) -> int:
    """Return ``value`` or raise :class:`InvalidInputError` outside 0 to 36500."""
    return check_integer(field, value, *RETENTION_DAYS_RANGE)


def check_backoff(base_seconds: int, max_seconds: int) -> None:
    """Check a back-off curve.

    Raises:
        InvalidInputError: A value is outside 1 to 86400 seconds or the maximum is below
            the base (D19).
    """
    check_integer("base_seconds", base_seconds, *BACKOFF_SECONDS_RANGE)
    check_integer("max_seconds", max_seconds, *BACKOFF_SECONDS_RANGE)
    if max_seconds < base_seconds:
        raise InvalidInputError(
            "max_seconds", f"{max_seconds} is below base_seconds ({base_seconds})"
        )
