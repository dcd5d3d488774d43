"""Acting on many jobs: what can be done, to jobs in which state, and what became of it.

A bulk action walks the matching jobs from the oldest to the newest of each combination
of state, queue and kind. Its :class:`WalkPosition` says how far it came, so that a call
that was cut short goes on where it stopped and looks at no job twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.jobs import REQUEUEABLE, JobStatus


class JobAction(StrEnum):
    """What an operator does to many jobs at once."""

    RETRY = "retry"
    DELETE = "delete"
    CANCEL = "cancel"
    RUN_NOW = "run_now"
    RESCHEDULE = "reschedule"

    @classmethod
    def parse(cls, value: object) -> JobAction:
        """Return the action with this name.

        Raises:
            InvalidInputError: There is none; field ``action``.
        """
        try:
            return cls(value)  # type: ignore[arg-type]  # the constructor decides
        except ValueError:
            raise InvalidInputError(
                "action", f"{shown(value)} is not one of {', '.join(cls)}"
            ) from None


_WAITING = (JobStatus.PENDING, JobStatus.FAILED)
# A running job is never deleted and never given a new time: delete and cancel ask it to
# stop. Finished work is never run again by a sweep.
APPLIES_TO: Mapping[JobAction, Sequence[JobStatus]] = MappingProxyType(
    {
        JobAction.RETRY: REQUEUEABLE,
        JobAction.DELETE: tuple(JobStatus),
        JobAction.CANCEL: (*_WAITING, JobStatus.IN_PROGRESS),
        JobAction.RUN_NOW: _WAITING,
        JobAction.RESCHEDULE: _WAITING,
    }
)


class SkipReason(StrEnum):
    """Why a job was left alone."""

    NOT_FOUND = "not_found"
    WRONG_STATUS = "wrong_status"
    DEDUPE_CONFLICT = "dedupe_conflict"


@dataclass(frozen=True, slots=True)
class Skip:
    """One job that was left alone."""

    id: str
    reason: SkipReason


class WalkPosition(NamedTuple):
    """The last job that a walk has looked at; walks go in the order of these."""

    status: JobStatus
    queue_name: str
    kind: str
    enqueued_at_us: int
    id: str


@dataclass(frozen=True, slots=True)
class BulkChange:
    """What one transaction did to the jobs it was given.

    Args:
        changed: Jobs that were changed, those that were asked to stop among them.
        stop_requested: Running jobs that were asked to stop.
        skipped: Jobs that were left alone.
    """

    changed: int = 0
    stop_requested: int = 0
    skipped: Sequence[Skip] = ()

    def __add__(self, other: BulkChange) -> BulkChange:
        """Return both as one."""
        return BulkChange(
            self.changed + other.changed,
            self.stop_requested + other.stop_requested,
            (*self.skipped, *other.skipped),
        )


@dataclass(frozen=True, slots=True)
class BulkStep:
    """One step of a walk.

    Args:
        matched: Jobs that matched and were acted on.
        change: What became of them.
        position: Where to go on; None at the end of the walk.
    """

    matched: int
    change: BulkChange
    position: WalkPosition | None
