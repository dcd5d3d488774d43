"""Bulk runs in words: what they do, to which jobs, and how far they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from werkzeug.datastructures import MultiDict
from werkzeug.utils import cached_property

from flask_forge_jobs.auth.access import USER_PREFIX
from flask_forge_jobs.dashboard.jobs.conditions import in_words
from flask_forge_jobs.dashboard.jobs.listings import JOBS
from flask_forge_jobs.dashboard.jobs.query import JobQuery, query_of
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import BulkRun, BulkRunState
from flask_forge_jobs.model.sentences import count

# While it goes on, and afterwards.
WORDS: Mapping[str, tuple[str, str]] = {
    JobAction.RETRY: ("Retrying", "retried"),
    JobAction.DELETE: ("Deleting", "deleted"),
    JobAction.CANCEL: ("Cancelling", "cancelled or asked to stop"),
    JobAction.RUN_NOW: ("Making due", "due now"),
    JobAction.RESCHEDULE: ("Rescheduling", "rescheduled"),
}
_SEARCH = "payload_search"
# Conditions of a run, and the parameters of a list.
_PARAMETERS = {
    "statuses": "status", "queues": "queue", "kinds": "kind", _SEARCH: "q",
}  # fmt: skip
_COLOURS = {
    BulkRunState.RUNNING: "in_progress",
    BulkRunState.DONE: "done",
    BulkRunState.STOPPED: "cancelled",
    BulkRunState.FAILED: "dead",
}


@dataclass(frozen=True)
class RunView:
    """One bulk run; ``shows_search`` says whether its search in payloads is shown."""

    run: BulkRun
    shows_search: bool

    @property
    def headline(self) -> str:
        """What it does, or its result."""
        run = self.run
        doing, done = WORDS[run.action]
        changed = count(run.changed, "job")
        match run.state:
            case BulkRunState.RUNNING:
                return f"{doing} {count(run.matched, 'job')}"
            case BulkRunState.DONE:
                return f"{changed if run.changed else 'No job'} {done}"
            case BulkRunState.STOPPED:
                return f"Stopped: {changed} {done}"
            case BulkRunState.FAILED:
                return f"Failed after {changed}"

    @property
    def reason(self) -> str:
        """Why it has changed no job, or stands still; empty if it needs no words."""
        run = self.run
        if run.is_lapsed:
            return "Its process has stopped. Another one goes on with it."
        if run.state is BulkRunState.RUNNING and not run.changed + run.skipped:
            return "Its first batch is under way."
        if run.state is not BulkRunState.DONE or run.changed:
            return ""
        if not run.matched:
            return "No job matched."
        if run.matched == self.left_out > 1:
            return f"None of {run.matched:,} matched any more."
        one = "It could not change the one job that matched."
        return one if run.matched == 1 else f"None of {run.matched:,} could be changed."

    @property
    def author(self) -> str:
        """The name of the caller that began it."""
        return self.run.author.actor.removeprefix(USER_PREFIX)

    @property
    def badge(self) -> str:
        """The state whose colour and shape it has."""
        is_idle = self.run.state is BulkRunState.DONE and not self.run.changed
        return "late" if is_idle else _COLOURS[self.run.state]

    @property
    def word(self) -> str:
        """Its state in words; of a running one, how far it is."""
        word = self.run.state.capitalize()
        behind = 100 * (self.run.changed + self.run.skipped)
        if self.run.state is not BulkRunState.RUNNING or not behind:
            return word
        # More may match since, and its last batch is not the end yet.
        return f"{word}, {min(behind // max(self.run.matched, 1), 99)}%"

    @property
    def left_out(self) -> int:
        """Jobs that did not match any more when it came to them; 0 before its end."""
        run = self.run
        if run.state is not BulkRunState.DONE:
            return 0
        return max(run.matched - run.changed - run.skipped, 0)

    @property
    def numbers(self) -> str:
        """How many jobs it has changed, of those that matched as it began."""
        run = self.run
        # More may match since.
        return f"{run.changed:,} of {max(run.matched, run.changed):,}"

    @property
    def bar(self) -> Sequence[tuple[int, str]]:
        """The parts of its bar; jobs that it has not changed are the empty rest."""
        return [(self.run.changed, "green"), (self.run.skipped, "ink")]

    @cached_property
    def _query(self) -> JobQuery:
        pairs = [
            (_PARAMETERS.get(name, name), str(each))
            for name, value in self.run.jobs.items()
            for each in (value if isinstance(value, list) else [value])
            if self.shows_search or name != _SEARCH
        ]
        return query_of(JOBS, MultiDict(pairs))

    @property
    def lines(self) -> Sequence[tuple[str, str]]:
        """The conditions of its jobs, each as a name and a value."""
        lines = in_words(self._query, self._query.statuses)
        if self.shows_search or _SEARCH not in self.run.jobs:
            return lines
        return [*lines, ("payload contains", "a text that needs payload.reveal")]

    @property
    def address(self) -> str | None:
        """The list of the jobs that match its filter now; None if it is not shown."""
        is_shown = self.shows_search or _SEARCH not in self.run.jobs
        return self._query.address() if is_shown else None
