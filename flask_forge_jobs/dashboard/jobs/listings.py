"""The four lists of jobs: all jobs, and those scheduled, retrying or dead.

A page shows states in words of its own: a ``pending`` job that starts later is
*scheduled* and another one *waits*; an ``in_progress`` one *runs* in a slot, or is
claimed ahead; a ``failed`` one *retries*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask_forge_jobs.handlers.filters import SCHEDULED
from flask_forge_jobs.model.jobs import FINAL, WAITING, JobStatus

PENDING = str(JobStatus.PENDING)
RUNNING = str(JobStatus.IN_PROGRESS)
RETRYING = str(JobStatus.FAILED)
DEAD = str(JobStatus.DEAD)
DONE = str(JobStatus.DONE)
# In the order of the tabs: by their next step, the ended ones last.
STATUS_NAMES: Mapping[str, str] = {
    PENDING: "Waiting or scheduled",
    SCHEDULED: "Scheduled",
    RUNNING: "In progress",
    RETRYING: "Retrying",
    DEAD: "Dead",
    DONE: "Done",
}
_NEWEST_FIRST = "-enqueued_at"
_TIMED = {*map(str, WAITING), SCHEDULED}
_ENDED = set(map(str, FINAL))


@dataclass(frozen=True, slots=True)
class Listing:
    """One list.

    Args:
        path: Its address below the mount point.
        title: Its name in the navigation.
        statuses: The states of its jobs; none leaves them to the filter.
        sort: Its order by default.
        nothing: The text of the empty list.
    """

    path: str
    title: str
    statuses: tuple[str, ...]
    sort: str
    nothing: str


JOBS = Listing(
    "jobs", "Jobs", (), _NEWEST_FIRST,
    "A job appears here once the application enqueues it.",
)  # fmt: skip
SCHEDULED_JOBS = Listing(
    "scheduled", "Scheduled", (SCHEDULED,), "scheduled_at",
    "Jobs with a later start appear here.",
)  # fmt: skip
RETRIES = Listing(
    "retries", "Retries", (RETRYING,), "scheduled_at",
    "Failed jobs with tries left appear here.",
)  # fmt: skip
DEAD_JOBS = Listing(
    "dead", "Dead", (DEAD,), "-completed_at",
    "Jobs that failed for good, and cancelled ones, appear here.",
)  # fmt: skip
LISTINGS = (JOBS, SCHEDULED_JOBS, RETRIES, DEAD_JOBS)


def parts_of(statuses: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tabs that a filter covers; ``pending`` has the scheduled jobs too."""
    if not statuses:
        return tuple(STATUS_NAMES)
    return tuple(
        word
        for word in STATUS_NAMES
        if word in statuses or (word == SCHEDULED and PENDING in statuses)
    )


def sortable(statuses: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that jobs in some states can be sorted by; none means all."""
    columns = ["enqueued_at", "attempts", "priority"]
    if statuses and _TIMED.issuperset(statuses):
        columns.append("scheduled_at")
    if statuses and _ENDED.issuperset(statuses):
        columns.append("completed_at")
    return tuple(columns)
