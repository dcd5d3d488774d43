"""Pages of a list: they begin after a job, so new or deleted jobs shift nothing.

The page before is read in the reverse order and turned round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.dashboard.jobs.query import JobQuery, Place
from flask_forge_jobs.handlers.jobs import JobListing
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobSummary
from flask_forge_jobs.model.ordering import Position

# Takes an order, the position to start after, and the most jobs.
Find = Callable[[str, Position | None, int], JobListing]
# More new jobs than these are not counted.
MAX_AHEAD = 50
# Sorts behind the characters of ids.
_BEHIND = "~"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs, and the places of its neighbours; None if there is none.

    ``before`` is the number of jobs ahead of it, None if that is unknown. ``ahead`` of
    them have come since the page was opened, at most :data:`MAX_AHEAD`. ``pin`` is
    where it begins.
    """

    jobs: Sequence[JobSummary]
    before: int | None = 0
    previous: Place | None = None
    following: Place | None = None
    ahead: int = 0
    pin: Place | None = None


def page_at(query: JobQuery, find: Find) -> Page:
    """Return the page at a query's place."""
    place = query.place
    if query.pin is not None:
        return _pinned_page(query, query.pin, find)
    if place is not None and place.is_backward:
        page = _page_before(query, place, find)
        if page is not None:
            return page
        place = None
    position = None if place is None else place.position
    listing = find(query.sort, position, query.per)
    before = 0 if place is None else place.before or None
    page = _page(
        query,
        listing.rows,
        before,
        has_previous=place is not None,
        has_next=listing.next_cursor is not None,
    )
    if place is not None or not query.is_pinned or not page.jobs:
        return page
    return replace(page, pin=Place(position_of(page.jobs[0], query.sort)))


def _pinned_page(query: JobQuery, pin: Place, find: Find) -> Page:
    """Return the first page as it was opened, and how many jobs have come since."""
    first = pin.position
    listing = find(query.sort, None, MAX_AHEAD + query.per)
    places = [position_of(job, query.sort) for job in listing.rows[:MAX_AHEAD]]
    ahead = sum((place.key, place.id) > (first.key, first.id) for place in places)
    if ahead < MAX_AHEAD:
        jobs = listing.rows[ahead : ahead + query.per]
        is_last = listing.next_cursor is None and len(listing.rows) <= ahead + query.per
    else:
        # The pin itself is on the page, unless it has left the list.
        start = Position(first.key, first.id + _BEHIND)
        listing = find(query.sort, start, query.per)
        jobs, is_last = listing.rows, listing.next_cursor is None
    page = _page(
        query,
        jobs,
        ahead if ahead < MAX_AHEAD else None,
        has_previous=False,
        has_next=not is_last,
    )
    return replace(page, ahead=ahead, pin=pin)


def _page_before(query: JobQuery, place: Place, find: Find) -> Page | None:
    """Return a page that ends at a place; None if the list begins within it."""
    listing = find(reverse_of(query.sort), place.position, query.per)
    if listing.next_cursor is None:
        return None
    jobs = listing.rows[::-1]
    before = place.before or None
    return _page(query, jobs, before, has_previous=True, has_next=True)


def _page(
    query: JobQuery,
    jobs: Sequence[JobSummary],
    before: int | None,
    *,
    has_previous: bool,
    has_next: bool,
) -> Page:
    if not jobs:
        return Page(jobs, before)
    ahead, behind = 0, 0
    if before is not None:
        ahead, behind = max(before - query.per, 0), before + len(jobs)
    previous = Place(position_of(jobs[0], query.sort), is_backward=True, before=ahead)
    following = Place(position_of(jobs[-1], query.sort), before=behind)
    return Page(
        jobs,
        before,
        previous if has_previous else None,
        following if has_next else None,
    )


def reverse_of(sort: str) -> str:
    """Return the opposite order."""
    return sort.removeprefix("-") if sort.startswith("-") else f"-{sort}"


def position_of(job: JobSummary, sort: str) -> Position:
    """Return the place of a job in an order.

    Only ended jobs are sorted by their end.
    """
    value: datetime | int | None = getattr(job, sort.removeprefix("-"))
    value = job.enqueued_at if value is None else value
    key = value if isinstance(value, int) else to_micros(value)
    return Position(key, job.id, is_unfinished=False)
