"""Bulk actions: their targets and their results.

A bulk action walks each combination of state, queue and kind from the oldest matching
job to the newest. Its :class:`WalkPosition` is where a call that stopped early resumes,
so that no job is visited twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, TypedDict

from flask_forge_jobs.model.bounds import Choice
from flask_forge_jobs.model.jobs import UNSUCCESSFUL, WAITING, Job, JobStatus

# Most jobs that one bulk call acts on.
DEFAULT_MAX_ROWS = 50_000


class JobAction(Choice):
    """An action on many jobs at once."""

    RETRY = "retry"
    DELETE = "delete"
    CANCEL = "cancel"
    RUN_NOW = "run_now"
    RESCHEDULE = "reschedule"


class ChangeOptions(TypedDict, total=False):
    """What single actions take besides the jobs; see :meth:`.JobAdmin.change`."""

    run_at: datetime | None
    restart: bool
    dependents: bool


# Delete and cancel only ask a running job to stop. Finished work never runs again.
APPLIES_TO: Mapping[JobAction, Sequence[JobStatus]] = MappingProxyType(
    {
        JobAction.RETRY: UNSUCCESSFUL,
        JobAction.DELETE: tuple(JobStatus),
        JobAction.CANCEL: (*WAITING, JobStatus.IN_PROGRESS),
        JobAction.RUN_NOW: WAITING,
        JobAction.RESCHEDULE: WAITING,
    }
)


class SkipReason(StrEnum):
    """Why a job was left alone."""

    NOT_FOUND = "not_found"
    WRONG_STATUS = "wrong_status"
    DEDUPE_CONFLICT = "dedupe_conflict"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Skip:
    """A job that was left alone."""

    id: str
    reason: SkipReason


class WalkPosition(NamedTuple):
    """The last job that a walk has visited; its fields give the order of the walk."""

    status: JobStatus
    queue_name: str
    kind: str
    enqueued_at_us: int
    id: str


@dataclass(frozen=True, slots=True)
class BulkChange:
    """The result of one transaction; ``changed`` includes ``stop_requested`` jobs.

    ``job`` is the changed one where the change has read it, too.
    """

    changed: int = 0
    stop_requested: int = 0
    skipped: Sequence[Skip] = ()
    job: Job | None = None

    def __add__(self, other: BulkChange) -> BulkChange:
        return BulkChange(
            self.changed + other.changed,
            self.stop_requested + other.stop_requested,
            (*self.skipped, *other.skipped),
        )


@dataclass(frozen=True, slots=True)
class BulkStep:
    """One step of a walk; ``position`` is None at the end of it."""

    matched: int
    change: BulkChange
    position: WalkPosition | None


class DeleteOutcome(StrEnum):
    """The effect of a delete; a running job is only asked to stop."""

    DELETED = "deleted"
    CANCEL_REQUESTED = "cancel_requested"
    NOT_FOUND = "not_found"


class CancelOutcome(StrEnum):
    """The effect of a cancel; a running job is only asked to stop."""

    CANCELLED = "cancelled"
    CANCEL_REQUESTED = "cancel_requested"
