"""The rows of a list: one job each, with the state and the actions of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.job.progress_view import progress_view
from flask_forge_jobs.dashboard.jobs.listings import PENDING, RETRYING, RUNNING
from flask_forge_jobs.dashboard.jobs.offers import VERBS, Verb
from flask_forge_jobs.handlers.filters import SCHEDULED
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobSummary

# The last characters of an id tell jobs of the same moment apart.
SHORT_ID = 7
# Of the first line; a column is mostly narrower.
MAX_ERROR = 80
# A heartbeat is due every few seconds.
_LATE = timedelta(seconds=30)
_COLOURS = {"failed": "amber", "dead": "red", "in_progress": "blue", "done": "green"}


def first_line(error: str) -> str:
    """Return the first line of an error, cut."""
    line = error.strip().partition("\n")[0]
    return line if len(line) <= MAX_ERROR else f"{line[: MAX_ERROR - 1]}…"


@dataclass(frozen=True, slots=True)
class Row:
    """One job of a list at one moment."""

    job: JobSummary
    now: datetime

    @property
    def short_id(self) -> str:
        """The end of its id."""
        return self.job.id[-SHORT_ID:]

    @property
    def word(self) -> str:
        """Its tab: the state, or ``scheduled``."""
        # A job that is newer than the page's time is due at once, not scheduled.
        is_later = self.job.scheduled_at > max(self.now, self.job.enqueued_at)
        if self.job.status == PENDING and is_later:
            return SCHEDULED
        return str(self.job.status)

    @property
    def is_due(self) -> bool:
        """Whether its time for another try has come."""
        return self.word == RETRYING and self.job.scheduled_at <= self.now

    @property
    def mark(self) -> str:
        """The value of its checkbox: its tab and its id."""
        return f"{self.word}.{self.job.id}"

    @property
    def state(self) -> str:
        """Its tab, or ``cancelled``."""
        is_cancelled = self.job.ending is Ending.CANCELLED
        return "cancelled" if is_cancelled else self.word

    @property
    def is_stopping(self) -> bool:
        """Whether it runs and has been asked to stop."""
        return self.word == RUNNING and self.job.cancel_requested_at is not None

    @property
    def is_late(self) -> bool:
        """Whether it runs without a heartbeat of the last 30 s."""
        at = self.job.heartbeat_at
        return self.word == RUNNING and (at is None or self.now - at >= _LATE)

    @property
    def gave_up_early(self) -> bool:
        """Whether it failed for good with tries left; some die before the first."""
        has_tries = 0 < self.job.attempts < self.job.max_attempts
        return self.state == "dead" and has_tries

    @property
    def colour(self) -> str:
        """The colour of its tries."""
        return _COLOURS.get(str(self.job.status), "ink")

    @property
    def error(self) -> str:
        """The first line of its last error, cut."""
        return first_line(self.job.last_error or "")

    @property
    def progress(self) -> str | None:
        """How far its last report is, such as ``25%``; None if unknown."""
        if self.job.running_progress is None:
            return None
        percent = progress_view(self.job.running_progress).percent
        return None if percent is None else f"{percent}%"

    def verbs(self, may: Collection[Permission]) -> Sequence[Verb]:
        """Return the actions that its state and the caller's permissions allow."""
        return [
            verb
            for verb in VERBS.values()
            if self.word in verb.statuses
            and verb.permission in may
            and not (self.is_stopping and verb.is_hot)
        ]
