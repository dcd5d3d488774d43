"""The jobs and batches for which a job waits, and the jobs that wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.handlers.job_record import JobRecord
from flask_forge_jobs.model.attempts import Attempt
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.links import LinkEnd, OnParentDead
from flask_forge_jobs.model.ties import Dependent, Parent

# A badge and its word, of parents that have no state of their own.
_ENDS: Mapping[LinkEnd | None, tuple[str, str | None]] = {
    None: ("running", "Running"),
    LinkEnd.DONE: ("done", None),
    LinkEnd.DEAD: ("dead", None),
    LinkEnd.DELETED: ("cancelled", "Deleted"),
    LinkEnd.RELEASED: ("pending", "Released"),
}
_RULES: Mapping[OnParentDead, str] = {
    OnParentDead.CANCEL: "dies with it",
    OnParentDead.RUN: "runs even if it dies",
    OnParentDead.HOLD: "is held if it dies",
}


@dataclass(frozen=True, slots=True)
class Tie:
    """One end of a link: its page below the mount point, its state and the rule."""

    id: str
    name: str
    path: Sequence[str]
    badge: str
    word: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class TiesView:
    """Both sides of a job: ``since`` and ``until`` are the ends of its wait."""

    parents: Sequence[Tie]
    dependents: Sequence[Tie]
    waiting_for: int
    since: datetime
    until: datetime | None
    dead_with_it: int

    @property
    def of_parents(self) -> str:
        """How many of them have not ended."""
        total = f"{len(self.parents):,}"
        return f"{self.waiting_for:,} of {total}" if self.waiting_for else total


def ties_view(record: JobRecord) -> TiesView:
    """Return the ties of a job as they are shown."""
    dependents = record.dependents
    return TiesView(
        [_of_parent(each.link) for each in record.parents],
        [_of_dependent(each) for each in dependents],
        record.waiting_for,
        record.row.enqueued_at,
        _freed_at(record, record.attempts),
        sum(
            each.status is JobStatus.DEAD and each.ended is LinkEnd.DEAD
            for each in dependents
        ),
    )


def _of_parent(parent: Parent) -> Tie:
    badge, word = _ENDS[parent.ended]
    if parent.status is not None:
        badge, word = parent.status.value, None
    path = ("jobs" if parent.kind is not None else "batches", parent.id)
    name = parent.kind or "batch"
    return Tie(parent.id, name, path, badge, word, _RULES[parent.on_parent_dead])


def _of_dependent(dependent: Dependent) -> Tie:
    is_waiting = dependent.is_waiting
    return Tie(
        dependent.id,
        dependent.kind,
        ("jobs", dependent.id),
        "scheduled" if is_waiting else dependent.status.value,
        "Waits" if is_waiting else None,
        _RULES[dependent.on_parent_dead],
    )


def _freed_at(record: JobRecord, attempts: Sequence[Attempt]) -> datetime | None:
    """Return when a job stopped waiting for others; None while it does."""
    row = record.row
    if row.start_at is not None:
        return row.completed_at  # it died waiting, or waits
    return attempts[0].due_at if attempts else row.scheduled_at
