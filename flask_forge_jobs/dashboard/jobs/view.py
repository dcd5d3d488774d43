"""What the template of a list shows, in the order of the page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from werkzeug.utils import cached_property

from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.job.view import JobView
from flask_forge_jobs.dashboard.jobs.columns import Choice, Column, choices, columns
from flask_forge_jobs.dashboard.jobs.conditions import Chip, chips
from flask_forge_jobs.dashboard.jobs.filter_text import QUALIFIERS
from flask_forge_jobs.dashboard.jobs.headlines import headline, parts_in_words
from flask_forge_jobs.dashboard.jobs.listings import (
    JOBS,
    PENDING,
    STATUS_NAMES,
    Listing,
    parts_of,
)
from flask_forge_jobs.dashboard.jobs.offers import VERBS, Offer, Verb, number_of, offers
from flask_forge_jobs.dashboard.jobs.paging import MAX_AHEAD
from flask_forge_jobs.dashboard.jobs.query import PRESETS, JobQuery, Place
from flask_forge_jobs.dashboard.jobs.questions import (
    Question,
    about_matching,
    about_selected,
)
from flask_forge_jobs.dashboard.jobs.reading import JobList
from flask_forge_jobs.dashboard.jobs.rows import Row
from flask_forge_jobs.dashboard.jobs.saved_views import SavedView
from flask_forge_jobs.model.error_groups import DeadGroups
from flask_forge_jobs.model.sentences import count

# Of queues and of kinds.
MAX_SUGGESTIONS = 50
_FIELDS = ("error", "q", "signature", "last", "from", "to")
# A tab: name, address, whether it is chosen, and a number or None.
Tab = tuple[str, str, bool, int | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A selection, and the action that it is meant for.

    ``is_all`` selects everything that matches; otherwise ``ticked`` holds the values of
    the checkboxes. ``verb`` of None asks nothing. ``job`` is one to show beside the
    list.
    """

    is_all: bool = False
    ticked: Sequence[str] = ()
    verb: str | None = None
    job: JobView | None = None


NOTHING_ASKED = Asked()


class ListView:
    """One list for its template.

    ``qualifiers`` are the words in front of a colon that the text field knows,
    ``presets`` ranges of time that end now, by their parameter. ``ticked`` are the
    values of the ticked checkboxes, and ``job`` is the one beside the list, or None.
    """

    qualifiers = tuple(QUALIFIERS)
    presets = PRESETS

    def __init__(
        self,
        jobs: JobList,
        may: Collection[Permission],
        asked: Asked = NOTHING_ASKED,
        saved: Sequence[SavedView] = (),
    ) -> None:
        self._jobs = jobs
        self.saved = saved
        self._asked = asked
        self.may = may
        self.query: JobQuery = jobs.query
        self.listing: Listing = jobs.query.listing
        self.ticked = frozenset(asked.ticked)
        self.job = asked.job

    # -- head ----------------------------------------------------------------------

    @cached_property
    def headline(self) -> str:
        """How many jobs match."""
        return headline(self.query, self._jobs.matching)

    @cached_property
    def parts(self) -> str:
        """The states of these jobs."""
        return parts_in_words(self.query, self._jobs.matching)

    @cached_property
    def total(self) -> int:
        """How many jobs match."""
        return self._jobs.matching.total

    @cached_property
    def tabs(self) -> Sequence[Tab]:
        """The states as links, with the number of jobs that the rest of the filter has.

        A list of one state has none.
        """
        if self.listing.statuses:
            return ()
        chosen, counts = self.query.statuses, self._jobs.counts
        knows_all = self._jobs.has_all_counts and counts.bound is None
        known = tuple(STATUS_NAMES) if knows_all else parts_of(chosen)
        everything = counts.total if knows_all else None
        made: list[Tab] = [
            ("All", self.query.address(statuses=()), not chosen, everything)
        ]
        for word, name in STATUS_NAMES.items():
            number = counts.pending if word == PENDING else number_of(word, counts)
            address = self.query.address(statuses=(word,))
            shown = number if word in known and counts.bound is None else None
            made.append((name, address, word in chosen, shown))
        return made

    @cached_property
    def part(self) -> tuple[str, str] | None:
        """Which part of the jobs is searched or counted, and the way to all of them.

        None if it is all.
        """
        searched = self._jobs.searched
        if searched is not None:
            jobs = count(searched, "job")
            return f"Only the newest {jobs} are searched.", "Search all jobs"
        if self._jobs.is_exact:
            return None
        return f"Counting stops at {self.total:,}.", "Count all jobs"

    @cached_property
    def whole(self) -> str:
        """The address of the same list with all jobs searched and counted."""
        return self.query.address(is_whole=True)

    @cached_property
    def shown_total(self) -> str:
        """The number of matching jobs in words."""
        is_bounded = self._jobs.matching.bound is not None
        return f"more than {self.total:,}" if is_bounded else f"{self.total:,}"

    # -- filter --------------------------------------------------------------------

    @cached_property
    def chips(self) -> Sequence[Chip]:
        """The conditions, each with the address without it."""
        return chips(self.query)

    @cached_property
    def clear(self) -> str:
        """The address without any condition; the states stay."""
        return self.query.address(
            queues=(), kinds=(), single={}, last=None, start=None, end=None
        )

    @cached_property
    def kept(self) -> Sequence[tuple[str, str]]:
        """The parameters that the text field repeats."""
        return replace(self.query, place=None).pairs()

    @cached_property
    def kept_by_form(self) -> Sequence[tuple[str, str]]:
        """Those for which the form of the conditions has no field."""
        return [pair for pair in self.kept if pair[0] not in _FIELDS]

    def value(self, name: str) -> str:
        """Return the present value of a field of that form."""
        query = self.query
        instant = {"from": query.start, "to": query.end}.get(name)
        if instant is not None:
            return f"{instant:%Y-%m-%dT%H:%M:%S}"
        return (query.last or "") if name == "last" else query.single.get(name, "")

    @cached_property
    def queue_names(self) -> Sequence[str]:
        """Known queues to choose from."""
        return self._jobs.known_queues[:MAX_SUGGESTIONS]

    @cached_property
    def kind_names(self) -> Sequence[str]:
        """Known kinds to choose from."""
        return self._jobs.known_kinds[:MAX_SUGGESTIONS]

    # -- table ---------------------------------------------------------------------

    @cached_property
    def columns(self) -> Sequence[Column]:
        """The columns, those that the filter fixes left out."""
        return columns(self.query)

    @cached_property
    def choices(self) -> Sequence[Choice]:
        """Further columns."""
        return choices(self.query)

    @cached_property
    def rows(self) -> Sequence[Row]:
        """The jobs of this page."""
        return [Row(job, self._jobs.now) for job in self._jobs.page.jobs]

    @cached_property
    def pin(self) -> str | None:
        """Where the page begins, for its refreshes; None if they need not know."""
        pin = self._jobs.page.pin
        return None if pin is None else pin.text

    @cached_property
    def fresh(self) -> str | None:
        """How many jobs have come since the page was opened; None without one."""
        ahead = self._jobs.page.ahead
        if not ahead:
            return None
        if ahead >= MAX_AHEAD:
            return f"{MAX_AHEAD} or more new jobs match"
        return count(ahead, "new job matches", "new jobs match")

    # -- by error ------------------------------------------------------------------

    @cached_property
    def groups(self) -> DeadGroups | None:
        """The jobs by error; None if they are listed one by one."""
        return self._jobs.dead if self.query.by_error else None

    @cached_property
    def by_error(self) -> str | None:
        """The address of the jobs by error, or of the list again; None without one."""
        if not self.query.can_group:
            return None
        return self.query.address(by_error=not self.query.by_error)

    @cached_property
    def without_error(self) -> int:
        """How many of them were cancelled, so that they have no signature.

        0 if more signatures follow.
        """
        groups = self._jobs.dead
        is_all = len(groups.groups) == groups.total
        shown = sum(group.dead for group in groups.groups)
        return max(self.total - shown, 0) if is_all else 0

    def group_address(self, signature: str, verb: str | None = None) -> str:
        """Return the address of the jobs with an error, or of a question about all."""
        more = () if verb is None else (("all", "1"), ("ask", verb))
        single = {"signature": signature}
        return self.query.address(more, single=single, by_error=False)

    # -- pages ---------------------------------------------------------------------

    @cached_property
    def extent(self) -> str:
        """Which of the matching jobs the page has: ``51-100 of 1,501``."""
        page = self._jobs.page
        if not page.jobs:
            return f"0 of {self.shown_total}"
        if page.before is None:
            return f"{len(page.jobs):,} of {self.shown_total}"
        first, last = page.before + 1, page.before + len(page.jobs)
        # Jobs may have left the list since the pages before were shown.
        if last > self.total and self._jobs.is_exact:
            return f"{len(page.jobs):,} of {self.total:,}"
        return f"{first:,}\u2013{last:,} of {self.shown_total}"

    @cached_property
    def first(self) -> str | None:
        """The address of the first page; None on it."""
        return None if self.query.place is None else self.query.address(place=None)

    @cached_property
    def previous(self) -> str | None:
        """The address of the page before; None if there is none."""
        return self._address_at(self._jobs.page.previous)

    @cached_property
    def following(self) -> str | None:
        """The address of the next page; None if there is none."""
        return self._address_at(self._jobs.page.following)

    def _address_at(self, place: Place | None) -> str | None:
        return None if place is None else self.query.address(place=place)

    # -- actions -------------------------------------------------------------------

    @cached_property
    def offers(self) -> Sequence[Offer]:
        """The actions on everything that matches; none unless its number is known."""
        if not self._jobs.is_exact:
            return ()
        return offers(self.query.chosen_statuses, self._jobs.matching, self.may)

    @cached_property
    def verbs(self) -> Sequence[Verb]:
        """The actions on ticked jobs, as far as the states of the list allow them."""
        parts = parts_of(self.query.chosen_statuses)
        return [
            verb
            for verb in VERBS.values()
            if verb.permission in self.may and verb.statuses.intersection(parts)
        ]

    @cached_property
    def is_all(self) -> bool:
        """Whether everything that matches is selected."""
        return self._asked.is_all and bool(self.offers)

    def export(self, suffix: str) -> str:
        """Return the address of the list as a file."""
        statuses = self.query.chosen_statuses
        query = replace(
            self.query, listing=JOBS, statuses=statuses, place=None, columns=()
        )
        return query.address().replace(JOBS.path, f"{JOBS.path}.{suffix}", 1)

    @property
    def dialog(self) -> str | None:
        """Another dialog that was asked for: ``save`` or ``enqueue``."""
        verb = self._asked.verb
        if verb == "enqueue" and Permission.JOBS_ENQUEUE not in self.may:
            return None
        return verb if verb in ("save", "enqueue") else None

    @property
    def back(self) -> str:
        """The address without the question; the selection stays."""
        return self.query.address([("all", "1")] if self._asked.is_all else ())

    @cached_property
    def job_row(self) -> Row | None:
        """The same job as a row, with its actions."""
        return None if self.job is None else Row(self.job.row, self._jobs.now)

    @cached_property
    def question(self) -> Question | None:
        """The question before the action that was asked for; None without one."""
        verb = self._asked.verb
        if verb is None:
            return None
        if not self._asked.is_all:
            for each in self.verbs:
                if each.action == verb:
                    return about_selected(each, self._asked.ticked)
            return None
        for offer in self.offers:
            if offer.verb.action == verb:
                return about_matching(offer, self.query, self._jobs.job_filter)
        return None
