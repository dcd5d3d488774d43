"""The state of a list in its address: filter, order, page size, columns and place.

Unknown parameters are ignored. An invalid value counts as not given, and the links of
the page leave it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from flask_forge_jobs.dashboard.jobs.listings import (
    DEAD_JOBS,
    PENDING,
    RUNNING,
    STATUS_NAMES,
    Listing,
    sortable,
)
from flask_forge_jobs.dashboard.parameters import MAX_CHOSEN
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.filters import IN_QUERY, checked_filter
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.model.ordering import Position

# A page of 50 rows takes up to 60 kB; more than a page is acted upon by its filter.
PAGE_SIZES = (10, 25, 50)
DEFAULT_PAGE_SIZE = 50
# Columns that a list shows on request, in their order.
OPTIONAL_COLUMNS = ("next", "error", "priority", "finished")
# Ranges that end now.
PRESETS: Mapping[str, str] = {
    "1h": "last hour",
    "24h": "last 24 h",
    "7d": "last 7 days",
    "30d": "last 30 days",
}
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_RANGE = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_PLACE = re.compile(r"(-?[0-9]{1,18})([.~])(.{1,64})", re.DOTALL)
# Digits of the number of jobs before a page.
_MAX_DIGITS = 12
# With "all", the parameter of a search of all jobs.
SEARCH = "search"
# With "error", that of a list of dead jobs by signature.
GROUP = "group"
# The parameter of the refreshes of a page that stays where it begins.
PIN = "pin"
# Parameters of one value and the parts of the filter that they set.
SINGLE: Mapping[str, str] = {
    "error": "error_search",
    "q": "payload_search",
    "signature": "signature",
    "cron": "schedule_name",
    "dedupe_key": "dedupe_key",
    "ending": "ending",
    "min_attempts": "min_attempts",
    "batch": "batch_id",
    "waiting": "is_waiting",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: after a job, or at the end that precedes one.

    ``before`` is the number of jobs ahead of the page, as far as it is known.
    """

    position: Position
    is_backward: bool = False
    before: int = 0

    @property
    def text(self) -> str:
        """Its form in an address."""
        mark = "~" if self.position.is_unfinished else "."
        return f"{self.position.key}{mark}{self.position.id}"


@dataclass(frozen=True, slots=True)
class JobQuery:
    """The state of one list; ``single`` holds the parameters of one value each."""

    listing: Listing
    statuses: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    single: Mapping[str, str] = field(default_factory=dict)
    # Either a range that ends now or two ends; such as ``24h``.
    last: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    sort: str = ""
    per: int = DEFAULT_PAGE_SIZE
    columns: tuple[str, ...] = ()
    place: Place | None = None
    # The first job of a page that is refreshed: newer ones do not shift it.
    pin: Place | None = None
    # Whether all jobs are searched and counted, however long that takes.
    is_whole: bool = False
    # Whether dead jobs are shown by the signatures of their errors.
    by_error: bool = False

    @property
    def chosen_statuses(self) -> tuple[str, ...]:
        """The states of the jobs; none means all."""
        return self.listing.statuses or self.statuses

    @property
    def is_pinned(self) -> bool:
        """Whether new jobs come before all others, and wait until they are asked for.

        In other orders they may come anywhere.
        """
        return self.sort in ("-enqueued_at", "-completed_at")

    @property
    def is_filtered(self) -> bool:
        """Whether the reader has chosen a part of the list."""
        return self != replace(
            self,
            statuses=(), queues=(), kinds=(), single={}, last=None, start=None,
            end=None,
        )  # fmt: skip

    @property
    def can_group(self) -> bool:
        """Whether there are sums by error of what the filter chooses."""
        chosen = self.single, self.last, self.start, self.end
        return self.listing is DEAD_JOBS and not any(chosen)

    def job_filter(self, now: datetime) -> JobFilter:
        """Return the filter, checked; ``now`` ends a relative range."""
        single: dict[str, Any] = {
            SINGLE[name]: value for name, value in self.single.items()
        }
        if "min_attempts" in single:
            single["min_attempts"] = int(single["min_attempts"])
        if "is_waiting" in single:
            single["is_waiting"] = True
        start = self.start if self.last is None else now - span_of(self.last)
        job_filter = JobFilter(
            queues=self.queues or None,
            kinds=self.kinds,
            statuses=self.chosen_statuses,  # type: ignore[arg-type]  # plain words
            enqueued_from=start,
            enqueued_to=self.end,
            **single,
        )
        return checked_filter(job_filter, IN_QUERY)

    def pairs(self) -> list[tuple[str, str]]:
        """Return the parameters of its address; defaults are left out."""
        pairs = [("status", each) for each in self.statuses]
        pairs += [("queue", each) for each in self.queues]
        pairs += [("kind", each) for each in self.kinds]
        pairs += self.single.items()
        if self.last is not None:
            pairs.append(("last", self.last))
        for name, instant in (("from", self.start), ("to", self.end)):
            if instant is not None:
                pairs.append((name, format_instant(instant)))
        if self.sort != self.listing.sort:
            pairs.append(("sort", self.sort))
        if self.per != DEFAULT_PAGE_SIZE:
            pairs.append(("per", str(self.per)))
        pairs += [("col", each) for each in self.columns]
        if self.is_whole:
            pairs.append((SEARCH, "all"))
        if self.by_error and self.can_group:
            pairs.append((GROUP, "error"))
        if self.place is not None:
            name = "before" if self.place.is_backward else "after"
            pairs.append((name, self.place.text))
            if self.place.before:
                pairs.append(("at", str(self.place.before)))
        return pairs

    def address(self, more: Iterable[tuple[str, str]] = (), **changes: Any) -> str:
        """Return an address below the mount point.

        ``more`` are further parameters. A change of anything but the place leads to the
        first page, and one of the filter to a bounded search.
        """
        if changes:
            changes.setdefault("place", None)
        if changes.keys() - _OF_THE_TABLE:
            changes.setdefault("is_whole", False)
        query = urlencode([*replace(self, **changes).pairs(), *more])
        return f"{self.listing.path}?{query}" if query else self.listing.path

    def without(self, name: str, value: str | None = None) -> str:
        """Return the address without a value, or without every value of a name."""
        if name in ("status", "queue", "kind"):
            attribute = _LISTS[name]
            kept = tuple(each for each in getattr(self, attribute) if each != value)
            return self.address(**{attribute: kept})
        if name in SINGLE:
            kept_single = {k: v for k, v in self.single.items() if k != name}
            return self.address(single=kept_single)
        return self.address(last=None, start=None, end=None)


_OF_THE_TABLE = frozenset(("place", "sort", "per", "columns"))
_LISTS = {"status": "statuses", "queue": "queues", "kind": "kinds"}


def span_of(text: str) -> timedelta:
    """Return the length of a relative range, such as ``24h``.

    Raises:
        ValueError: It is none.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def query_of(listing: Listing, args: MultiDict[str, str]) -> JobQuery:
    """Return the state that the parameters of an address mean."""
    statuses = () if listing.statuses else _statuses(args.getlist("status"))
    query = JobQuery(
        listing=listing,
        statuses=statuses,
        queues=_names("queues", args.getlist("queue")),
        kinds=_names("kinds", args.getlist("kind")),
        single=_single(args),
        sort=listing.sort,
        per=_page_size(args.get("per", "")),
        columns=tuple(c for c in OPTIONAL_COLUMNS if c in args.getlist("col")),
        is_whole=args.get(SEARCH) == "all",
    )
    query = _with_range(query, args)
    sort = args.get("sort", "")
    if sort.removeprefix("-") in sortable(query.chosen_statuses):
        query = replace(query, sort=sort)
    place = _place(args, "after", "before")
    pin = _place(args, PIN) if place is None and query.is_pinned else None
    by_error = query.can_group and args.get(GROUP) == "error"
    return replace(query, place=place, pin=pin, by_error=by_error)


def _statuses(words: Sequence[str]) -> tuple[str, ...]:
    known = {name.lower(): word for word, name in STATUS_NAMES.items()}
    known |= {"waiting": PENDING, "running": RUNNING}
    chosen = {known.get(word.lower(), word) for word in words}
    return tuple(word for word in STATUS_NAMES if word in chosen)


def _names(attribute: str, values: Sequence[str]) -> tuple[str, ...]:
    names = dict.fromkeys(each.strip() for each in values)
    valid = (name for name in names if _is_valid(**{attribute: (name,)}))
    return tuple(islice(valid, MAX_CHOSEN))


def _single(args: MultiDict[str, str]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for name, attribute in SINGLE.items():
        text = args.get(name, "").strip()
        if not text:
            continue
        value = _typed(name, text)
        if value is not None and _is_valid(**{attribute: value}):
            chosen[name] = text if value is True else str(value)
    return chosen


def _typed(name: str, text: str) -> str | int | bool | None:
    """Return the value of a parameter, or None if it has not its form."""
    if name == "waiting":
        return True if text == "1" else None
    if name == "min_attempts":
        is_number = text.isdecimal() and text.isascii()
        return int(text) or None if is_number else None
    return text


def _is_valid(**part: Any) -> bool:
    try:
        checked_filter(JobFilter(**part), IN_QUERY)
    except InvalidInputError:
        return False
    return True


def _with_range(query: JobQuery, args: MultiDict[str, str]) -> JobQuery:
    start, end = _instant(args.get("from", "")), _instant(args.get("to", ""))
    if start is not None and end is not None and start > end:
        start = end = None
    if start is not None or end is not None:
        return replace(query, start=start, end=end)
    last = args.get("last", "")
    return replace(query, last=last) if _RANGE.fullmatch(last) else query


def _instant(text: str) -> datetime | None:
    """Return an instant; text without a zone, as browsers' fields give it, is UTC."""
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    try:
        instant = instant.astimezone(UTC)
    except OverflowError:
        return None
    return instant if _is_valid(enqueued_from=instant) else None


def _page_size(text: str) -> int:
    return int(text) if text in map(str, PAGE_SIZES) else DEFAULT_PAGE_SIZE


def _place(args: MultiDict[str, str], *names: str) -> Place | None:
    for name in names:
        match = _PLACE.fullmatch(args.get(name, ""))
        if match is None:
            continue
        position = Position(int(match[1]), match[3], is_unfinished=match[2] == "~")
        at = args.get("at", "")
        before = (
            int(at) if at.isdecimal() and at.isascii() and len(at) <= _MAX_DIGITS else 0
        )
        return Place(position, name == "before", before)
    return None
