"""The list of queues: which of them does not run or falls behind, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from flask import request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.etags import settings_etag
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.parameters import NumberedPage, Parameters
from flask_forge_jobs.dashboard.queue_question import Question
from flask_forge_jobs.dashboard.queue_reads import all_queues, rows_of
from flask_forge_jobs.dashboard.queue_rows import QueueRow, QueueState, shared_slots
from flask_forge_jobs.dashboard.reads import report_of
from flask_forge_jobs.dashboard.words import natural
from flask_forge_jobs.model.sentences import count

# A row takes 1.5 kB, and a page 60 at most.
PAGE_SIZES = (10, 20, 30)
DEFAULT_PAGE_SIZE = 30
_SORTS: Mapping[str, Callable[[QueueRow], float]] = {
    "waiting": lambda row: row.counts.pending,
    "oldest": lambda row: row.oldest_s or 0,
    "rate": lambda row: row.rates.per_minute,
    "dead": lambda row: row.counts.dead,
}
_FILTERS: Mapping[str, tuple[str, Callable[[QueueRow], bool]]] = {
    "stopped": ("Not running", lambda row: not row.runs),
    "behind": ("Behind", lambda row: row.state is QueueState.BEHIND),
    "stalled": ("Completes none", lambda row: row.state is QueueState.STALLED),
}
# Offered also if no queue matches; four of them do not fit on a small phone.
_USUAL = ("stopped", "behind")
_STATES: Mapping[QueueState, str] = {
    QueueState.LIVE: "run",
    QueueState.BEHIND: "behind",
    QueueState.STALLED: "complete none",
    QueueState.PAUSED: "paused",
    QueueState.COOLING: "cooling down",
    QueueState.WITHOUT_WORKER: "without a worker",
    QueueState.WITHOUT_SLOTS: "without slots",
}
# The same of one queue, where that is another word.
_ONE = {QueueState.LIVE: "runs", QueueState.STALLED: "completes none"}

# Where all queues are in one state.
_ALL: Mapping[QueueState, tuple[str, str]] = {
    QueueState.LIVE: ("it runs", "all run"),
    QueueState.BEHIND: ("it is behind", "all are behind"),
    QueueState.STALLED: ("it completes no job", "none completes a job"),
}


class QueueList:
    """The queues of the caller, those that match, and the ones on this page."""

    def __init__(self, api: Api, parameters: Parameters) -> None:
        self._api = api
        self.part = parameters.text("q")
        self.only = parameters.one_of("state", _FILTERS)
        orders = [sign + name for name in ("name", *_SORTS) for sign in ("", "-")]
        self.sort = parameters.one_of("sort", orders) or "name"
        self.per = parameters.number("per", PAGE_SIZES, DEFAULT_PAGE_SIZE)
        self.number = parameters.number("page", range(1, 10_000), 1)

    @cached_property
    def rows(self) -> Sequence[QueueRow]:
        """Every queue that the caller may know."""
        allows = self._api.scope.allows
        listed = all_queues(self._api)
        own = [queue for queue in listed if allows(queue.settings.name)]
        return rows_of(self._api, own, report_of(self._api))

    @cached_property
    def named(self) -> Sequence[QueueRow]:
        """The queues whose name has the part that is looked for."""
        part = self.part.casefold()
        return [row for row in self.rows if part in row.name.casefold()]

    @cached_property
    def matching(self) -> Sequence[QueueRow]:
        """The queues that match, in order."""
        rows = list(self.named)
        if self.only:
            rows = [row for row in rows if _FILTERS[self.only][1](row)]
        by = self.sort.removeprefix("-")
        is_down = self.sort.startswith("-")
        if by == "name":
            return sorted(rows, key=lambda row: natural(row.name), reverse=is_down)
        return sorted(rows, key=_SORTS[by], reverse=is_down)

    @cached_property
    def page(self) -> NumberedPage:
        """Where this page lies among the queues that match."""
        return NumberedPage(self.number, self.per, len(self.matching))

    @property
    def shown(self) -> Sequence[QueueRow]:
        """The queues on this page."""
        return self.page.of(self.matching)

    @property
    def filters(self) -> Sequence[tuple[str, str | None, int]]:
        """The choices of state: name, parameter, and how many queues match."""
        choices = [
            (name, key, sum(map(matches, self.named)))
            for key, (name, matches) in _FILTERS.items()
        ]
        offered = [
            each for each in choices if each[2] or each[1] in {*_USUAL, self.only}
        ]
        return [("All", None, len(self.named)), *offered]

    @property
    def longest(self) -> int:
        """The full width of the depth bars."""
        return max((row.backlog for row in self.rows), default=0)

    @property
    def headline(self) -> str:
        """How many queues there are, and how many are in each state.

        Each counts once, so that the numbers add up.
        """
        if not self.rows:
            return "No queue is registered"
        states = Counter(row.state for row in self.rows)
        cools = Counter(row.state for row in self.rows if row.cools)
        del cools[QueueState.COOLING]
        parts = [
            f"{number:,} {_ONE.get(state, word) if number == 1 else word}"
            f"{_too(cools[state])}"
            for state, word in _STATES.items()
            if (number := states[state])
        ]
        for state, (one, all_of_them) in _ALL.items():
            if states[state] == len(self.rows):
                parts = [all_of_them if len(self.rows) > 1 else one]
        return f"{count(len(self.rows), 'queue')}: {', '.join(parts)}"

    @property
    def note(self) -> str:
        """How many slots the queues share; empty if each has slots of its own."""
        capacity = cast("int", report_of(self._api).summary.evidence.get("capacity", 0))
        shared = shared_slots(self.rows, capacity)
        return f"They {shared}." if shared else ""


def _too(number: int) -> str:
    """Return words for queues that cool down as well; empty for none."""
    if not number:
        return ""
    return f" ({number:,} also cool{'s' * (number == 1)} down)"


def queues(api: Api) -> Mapping[str, object]:
    """Show the queues, and the settings of one of them where the address says so."""
    parameters = Parameters(request)
    listed = QueueList(api, parameters)
    edited = parameters.text("edit")
    return {
        "queues": listed,
        "sizes": PAGE_SIZES,
        "question": Question(api, parameters, lambda: listed.rows),
        "edited": edited,
        "etag": settings_etag,
        "query": parameters.kept,
    }


ROUTES = (
    page(
        "/queues", queues, reach=Reach.VIEW, blocks=("headline", "filters", "list"),
        nav="Queues", icon="queues", order=30, key="q",
    ),
)  # fmt: skip
