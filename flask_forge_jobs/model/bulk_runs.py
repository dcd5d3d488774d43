"""Bulk runs: bulk actions that go on after their request, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.jobs import JobFilter, JobStatus

_FIELDS = fields(JobFilter)
# A part of the filter, and among the states in the API.
_SCHEDULED = "scheduled"
# Names of the API that differ from those of the filter's parts.
API_NAMES = {
    "enqueued_from": "from",
    "enqueued_to": "to",
    "error_search": "error",
    "schedule_name": "cron",
    "batch_id": "batch",
    "is_waiting": "waiting",
}


class BulkRunState(StrEnum):
    """The states of a run; all but the first are final."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunAuthor:
    """The request that began a run, for the audit trail."""

    actor: str
    address: str
    request_id: str
    # JSON of its body, without secrets.
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBulkRun:
    """A run to begin.

    ``jobs`` are the conditions of the filter as JSON values, the queues of its author
    included; ``matched`` is the number of jobs at the beginning.
    """

    action: JobAction
    jobs: Mapping[str, object]
    matched: int
    author: RunAuthor
    run_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRun(NewBulkRun):
    """A run, as it was when it was read.

    ``place`` is JSON of the last job of its walk, None at the start. ``is_lapsed``
    means that no process works on it.
    """

    id: str
    state: BulkRunState
    changed: int
    skipped: int
    place: str | None
    error: str | None
    created_at: datetime
    ended_at: datetime | None
    is_lapsed: bool

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state is not BulkRunState.RUNNING

    @property
    def queues(self) -> frozenset[str] | None:
        """The queues that it may touch; None means all."""
        names = self.jobs.get("queues")
        return frozenset(map(str, names)) if isinstance(names, list) else None


def conditions_of(job_filter: JobFilter) -> dict[str, object]:
    """Return the conditions of a checked filter as JSON values, by the API's names."""
    conditions: dict[str, object] = {}
    for each in fields(job_filter):
        value = getattr(job_filter, each.name)
        if isinstance(value, datetime):
            value = format_instant(value.astimezone(UTC))
        elif isinstance(value, tuple | list):
            value = list(map(str, value))
        elif isinstance(value, str):
            value = str(value)
        # No queues are a condition; an empty list of anything else is none.
        if value or (each.name == "queues" and value is not None):
            conditions[API_NAMES.get(each.name, each.name)] = value
    if conditions.pop(_SCHEDULED, False):
        conditions["statuses"] = [*map(str, job_filter.statuses), _SCHEDULED]
    return conditions


def filter_of(conditions: Mapping[str, object]) -> JobFilter:
    """Return the filter of stored conditions."""
    attributes = {API_NAMES.get(each.name, each.name): each.name for each in _FIELDS}
    values = {
        attributes[name]: _value(attributes[name], value)
        for name, value in conditions.items()
    }
    words = conditions.get("statuses")
    is_scheduled = isinstance(words, list) and _SCHEDULED in words
    return JobFilter(**values, scheduled=is_scheduled)


def _value(attribute: str, value: Any) -> Any:
    match attribute:
        case "enqueued_from" | "enqueued_to":
            return datetime.fromisoformat(value)
        case "statuses":
            return tuple(JobStatus(word) for word in value if word != _SCHEDULED)
        case "ending":
            return Ending(value)
    return tuple(value) if isinstance(value, list) else value
