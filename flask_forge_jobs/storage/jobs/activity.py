"""JobActivity: recent events of jobs, read from the job rows by index.

There is no event log: a row holds when its job was enqueued, started and ended. A
deleted job therefore has no events, a retry shows as one more start, and a start shows
only while the job runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.model.activity import (
    Event,
    EventType,
    first_id_at,
    millisecond_of,
)
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, JobSummary
from flask_forge_jobs.model.ordering import JobOrder, Position, SortColumn
from flask_forge_jobs.storage.database import (
    Executor,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.jobs.listing import Listing
from flask_forge_jobs.storage.jobs.streams import Place
from flask_forge_jobs.storage.rows import load_summaries

# A commit may come a little after its timestamp, so the newest events are held back.
SETTLED_AFTER_US = SECOND_US
# Most places to read per kind of event while looking past one millisecond.
MAX_PLACES = 50_000
# How many failed and dead jobs one page of a listing has.
FAILURES_AT_ONCE = 2500
_UNSUCCESSFUL = (JobStatus.FAILED, JobStatus.DEAD)
_BY_AGE = JobOrder(SortColumn.ENQUEUED_AT, descending=False)
_BY_END = JobOrder(SortColumn.COMPLETED_AT, descending=False)
_ENDS = {JobStatus.DONE: EventType.COMPLETED, JobStatus.DEAD: EventType.DEAD}
_INSTANTS: dict[EventType, Callable[[JobSummary], datetime | None]] = {
    EventType.ENQUEUED: lambda job: job.enqueued_at,
    EventType.STARTED: lambda job: job.started_at,
    EventType.COMPLETED: lambda job: job.completed_at,
    EventType.DEAD: lambda job: job.completed_at,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed or dead job; ``text`` is the beginning of its last error."""

    job_id: str
    queue_name: str
    kind: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class EventsPage:
    """Events in order, and the id to continue after."""

    events: Sequence[Event]
    next: int


class JobActivity:
    """Reads what happened to jobs; writes nothing."""

    def __init__(self, database: Executor) -> None:
        self._database = database

    def events_after(
        self,
        event_id: int,
        limit: int,
        types: Iterable[EventType] = EventType,
        wanted: JobFilter | None = None,
    ) -> EventsPage:
        """Return the events after an id, oldest first; at least a second old.

        The first event follows 0. Only events of one id can exceed the limit.
        """
        chosen = frozenset(types)

        def work(transaction: Transaction) -> EventsPage:
            tail = _Tail(transaction, chosen, wanted or JobFilter())
            events = _cut(tail.after(event_id, limit), limit)
            return EventsPage(events, events[-1].id if events else event_id)

        return self._database.read(work)

    def latest_events(
        self,
        limit: int,
        types: Iterable[EventType] = EventType,
        wanted: JobFilter | None = None,
    ) -> EventsPage:
        """Return the newest events, the oldest of them first."""
        chosen = frozenset(types)

        def work(transaction: Transaction) -> EventsPage:
            tail = _Tail(transaction, chosen, wanted or JobFilter())
            events = tail.latest(limit)
            return EventsPage(events, events[-1].id if events else tail.last_id)

        return self._database.read(work)

    def failures(self, limit: int, wanted: JobFilter | None = None) -> list[Failure]:
        """Return the youngest failed and dead jobs that match, the youngest first."""
        unsuccessful = replace(wanted or JobFilter(), statuses=_UNSUCCESSFUL)

        def work(transaction: Transaction) -> list[Failure]:
            listing = Listing(transaction, unsuccessful)
            found: list[Failure] = []
            after: Position | None = None
            while len(found) < limit:
                size = min(limit - len(found), FAILURES_AT_ONCE)
                places = listing.page(JobOrder(), size, after)
                found += _failures(transaction, [place.id for place in places])
                if len(places) < size:
                    break
                after = places[-1]
            return found

        return self._database.read(work)

    def ended_within(
        self, status: JobStatus, within_s: float, queue_names: Iterable[str]
    ) -> dict[str, int]:
        """Return how many jobs per queue became done or dead in the last seconds."""
        rows = self._database.read(
            lambda tx: tx.all(
                "ended_lately",
                status=str(status),
                age_us=int(within_s * SECOND_US),
                rows=encode_rows({"of_queue": name} for name in queue_names),
            )
        )
        return {name: int(jobs) for name, jobs in rows}


def _failures(transaction: Transaction, ids: Sequence[str]) -> list[Failure]:
    """Return failed and dead jobs in the order of their ids in the argument."""
    rows = transaction.all("failures", rows=encode_names("job_id", ids)) if ids else ()
    found = {
        job_id: Failure(job_id, queue_name, kind, text or "", from_micros(at))
        for job_id, queue_name, kind, text, at in rows
    }
    return [found[job_id] for job_id in ids]


class _Tail:
    """Events of some types in one snapshot."""

    def __init__(
        self,
        transaction: Transaction,
        types: frozenset[EventType],
        wanted: JobFilter,
    ) -> None:
        self._transaction = transaction
        self._types = types
        self._wanted = wanted
        now_us = int(transaction.all("now")[0][0])
        self._until = millisecond_of(first_id_at(now_us - SETTLED_AFTER_US))
        ends = tuple(status for status, kind in _ENDS.items() if kind in types)
        self._listings = []
        counts = transaction.all("counts")
        if EventType.ENQUEUED in types:
            self._listings.append((_BY_AGE, Listing(transaction, wanted, counts)))
        if ends:
            ended = replace(wanted, statuses=ends)
            self._listings.append((_BY_END, Listing(transaction, ended, counts)))

    @property
    def last_id(self) -> int:
        """An id below every event that is still to come."""
        return first_id_at(self._until) - 1

    def after(self, event_id: int, limit: int) -> list[Event]:
        """Return events in order: at least ``limit`` of them if there are as many."""
        most = limit + 1
        while True:
            events, is_all = self._read(event_id, most)
            if events or is_all or most > MAX_PLACES:
                return events
            most *= 4

    def latest(self, limit: int) -> list[Event]:
        """Return the last events in order."""
        start = 0
        for order, listing in self._listings:
            newest_first = replace(order, descending=True)
            page = listing.page(newest_first, limit, Position(self._until, ""))
            if len(page) == limit:
                # This kind alone has that many newer events.
                start = max(start, page[-1].key)
        most = limit + 1
        while True:
            events, is_all = self._read(first_id_at(start) - 1, most)
            if is_all or most > MAX_PLACES:
                return events[-limit:]
            most *= 4

    def _read(self, event_id: int, most: int) -> tuple[list[Event], bool]:
        """Return the events after an id, and whether these are all.

        Reads ``most`` places of each kind, and leaves out the millisecond of the last
        of them and everything later.
        """
        start, until = millisecond_of(event_id), self._until
        found = self._events(None, self._begun(start))
        for order, listing in self._listings:
            page = listing.page(order, most, Position(start, ""))
            if len(page) == most and page[-1].key < until:
                until = millisecond_of(first_id_at(page[-1].key))
            found |= self._events(order, [(place.key, place.id) for place in page])
        told = [event for event in found if event_id < event.id < first_id_at(until)]
        return sorted(told, key=lambda event: event.id), until == self._until

    def _begun(self, start: int) -> list[Place]:
        if EventType.STARTED not in self._types:
            return []
        rows = self._transaction.all("begun", from_at=start, to_at=self._until)
        return [(int(at), job_id) for at, job_id in rows]

    def _events(self, order: JobOrder | None, places: Sequence[Place]) -> set[Event]:
        """Return the events at some places; an order of None means starts."""
        jobs = load_summaries(self._transaction, [job_id for _, job_id in places])
        found = set()
        for job in jobs:
            kind = EventType.STARTED
            if order is not None:
                is_end = order.column is SortColumn.COMPLETED_AT
                kind = _ENDS[job.status] if is_end else EventType.ENQUEUED
            at = _INSTANTS[kind](job)
            if at is not None and self._wanted.covers(job.queue_name, job.kind):
                found.add(Event(at, kind, job.queue_name, job.kind, job.id))
        return found


def _cut(events: list[Event], limit: int) -> list[Event]:
    """Return the first events; events of one id stay together."""
    if len(events) <= limit:
        return events
    end = limit
    while end and events[end - 1].id == events[end].id:
        end -= 1
    if end:
        return events[:end]
    return [event for event in events if event.id == events[0].id]
