"""JobActivity: recent events of jobs, read from the job rows by index.

There is no event log: a row holds when its job was enqueued, started and ended. A
deleted job therefore has no events, a retry shows as one more start, and a start shows
only while the job runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flask_forge_jobs.model.activity import (
    Event,
    EventType,
    first_id_at,
    millisecond_of,
)
from flask_forge_jobs.model.instants import MILLISECOND_US, SECOND_US, from_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.storage.database import (
    Parameter,
    Query,
    Row,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.conditions import Conditions

# A commit may come a little after its timestamp, so the newest events are held back.
SETTLED_AFTER_US = SECOND_US
# Most rows to read per kind of event: as many as one call enqueues in an instant.
MAX_ROWS = 10_000
# How many events of each source the latest ones look at first, and of how many queues,
# kinds and states of the newest jobs.
CHUNK = 8
LOOKED_AT = 64
# How many times the limit is read before looking for a smaller window.
ROOM = 4
GROWTH = 4
_ENDS = {
    "done": EventType.COMPLETED,
    "dead": EventType.DEAD,
    "cancelled": EventType.CANCELLED,
}
# In the rows of events.
_WORDS = {"started": EventType.STARTED, "enqueued": EventType.ENQUEUED, **_ENDS}


@dataclass(frozen=True, slots=True)
class EventsPage:
    """Events in order, and the id to continue after."""

    events: Sequence[Event]
    next: int


class JobActivity:
    """Reads events of jobs; writes nothing."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def events_after(
        self,
        event_id: int,
        limit: int,
        types: Iterable[EventType] = EventType,
        job_filter: JobFilter | None = None,
    ) -> EventsPage:
        """Return the events after an id, oldest first; at least a second old.

        The first event follows 0. Only events of one id can exceed the limit.
        """
        chosen = frozenset(types)

        def work(transaction: Transaction) -> EventsPage:
            tail = _Tail(transaction, chosen, job_filter or JobFilter())
            events = _cut(tail.after(event_id, limit), limit)
            return EventsPage(events, events[-1].id if events else event_id)

        return self._database.read(work, apart=True)

    def latest_events(
        self,
        limit: int,
        types: Iterable[EventType] = EventType,
        job_filter: JobFilter | None = None,
    ) -> EventsPage:
        """Return the newest events, the oldest of them first; one round trip.

        Of more events of one instant than there is room for, any may be left out.
        """
        chosen, job_filter = frozenset(types), job_filter or JobFilter()

        def work(transaction: Transaction) -> EventsPage:
            rows = transaction.all(
                "latest_events",
                limit=limit,
                chunk=CHUNK,
                # With too few for a long page, it would have to read all newer jobs.
                max_combinations=max(LOOKED_AT, ROOM * limit // CHUNK),
                settled_us=SETTLED_AFTER_US,
                **_conditions(job_filter).of_counts(),
                **_parameters(chosen),
            )
            newest = sorted(map(_event, rows), key=lambda event: event.at)[-limit:]
            events = _sorted(newest)
            if events:
                return EventsPage(events, events[-1].id)
            return EventsPage(events, _Tail(transaction, chosen, job_filter).last_id)

        return self._database.read(work, apart=True)

    def ended_within(
        self, status: JobStatus, within_s: float, queue_names: Iterable[str]
    ) -> dict[str, int]:
        """Return how many jobs per queue became done or dead in the last seconds."""
        name, values = ended_query(status, within_s, queue_names)
        rows = self._database.read_all(name, **values)
        return {name: int(jobs) for name, jobs in rows}


def ended_query(
    status: JobStatus, within_s: float, queue_names: Iterable[str]
) -> Query:
    """Return what :meth:`JobActivity.ended_within` reads."""
    return "ended_lately", {
        "status": str(status),
        "age_us": int(within_s * SECOND_US),
        "rows": encode_rows({"of_queue": name} for name in queue_names),
    }


class _Tail:
    """Events of some types, those of an answer from one statement.

    It reads windows of time. A window with too many events is read again, smaller, but
    not below a millisecond: of one that has more than ``MAX_ROWS`` events of a kind,
    some are left out, always the same as long as its jobs stay as they are.
    """

    def __init__(
        self,
        transaction: Transaction,
        types: frozenset[EventType],
        job_filter: JobFilter,
    ) -> None:
        self._transaction = transaction
        now_us = int(transaction.all("now")[0][0])
        self._until = millisecond_of(first_id_at(now_us - SETTLED_AFTER_US))
        self._sources = [each for each in _SOURCES if each.types & types]
        conditions = _conditions(job_filter)
        self._parameters = conditions.of_counts() | _parameters(types)

    @property
    def last_id(self) -> int:
        """An id below every event that is still to come."""
        return first_id_at(self._until) - 1

    def after(self, event_id: int, limit: int) -> list[Event]:
        """Return the next events in order: one at least, if there is one."""
        start = millisecond_of(event_id)
        events, is_all = self._read(start, self._until, ROOM * limit)
        if not is_all:
            events, _ = self._read(start, start + MILLISECOND_US, MAX_ROWS)
        later = [event for event in _sorted(events) if event.id > event_id]
        if is_all or later:
            return later
        return _sorted(self._next(start + MILLISECOND_US, limit))

    def _next(self, start: int, limit: int) -> list[Event]:
        """Return events from an instant on, past the time without any."""
        if start >= self._until:
            return []
        first = self._first(start)
        begin = first // MILLISECOND_US * MILLISECOND_US
        until = self._until
        return self._grown(lambda width: (begin, min(begin + width, until)), limit)

    def _grown(
        self, window: Callable[[int], tuple[int, int]], limit: int
    ) -> list[Event]:
        """Return the events of the smallest window that has ``limit`` of them.

        If it has too many, return those of the largest one that does not.
        """
        kept: list[Event] = []
        width, last = MILLISECOND_US, None
        while len(kept) < limit and window(width) != last:
            last = window(width)
            events, is_all = self._read(*last, MAX_ROWS)
            if not is_all:
                return kept or events
            kept = events
            width *= GROWTH
        return kept

    def _read(self, start: int, end: int, limit: int) -> tuple[list[Event], bool]:
        """Return events of a window, and whether these are all."""
        rows = self._transaction.all(
            "events_within", from_at=start, to_at=end, limit=limit, **self._parameters
        )
        numbers = Counter(_SOURCE_OF[row[-1]] for row in rows)
        is_all = all(number < limit for number in numbers.values())
        return list(map(_event, rows)), is_all

    def _first(self, start: int) -> int:
        """Return the first instant with an event from an instant on, or the end."""
        instants = [
            at
            for each in self._sources
            for at in self._instant(each.first, from_at=start)
        ]
        return min((*instants, self._until))

    def _instant(self, name: str, **bound: int) -> list[int]:
        """Return the instant that a statement finds, if there is one."""
        rows = self._transaction.all(name, **bound, **self._parameters)
        return [int(at) for (at,) in rows if at is not None]


class _Source(NamedTuple):
    """Events of some types, and the statement that finds the first one."""

    types: frozenset[EventType]
    first: str


_SOURCES = (
    _Source(frozenset((EventType.STARTED,)), "started_first"),
    _Source(frozenset((EventType.ENQUEUED,)), "enqueued_first"),
    _Source(frozenset(_ENDS.values()), "ended_first"),
)
_SOURCE_OF = {
    word: next(each for each in _SOURCES if event in each.types)
    for word, event in _WORDS.items()
}


def _conditions(job_filter: JobFilter) -> Conditions:
    return Conditions(JobFilter(queues=job_filter.queues, kinds=job_filter.kinds))


def _parameters(types: frozenset[EventType]) -> dict[str, Parameter]:
    """Return the parameters of statements about events of some types."""
    deaths = types & {EventType.DEAD, EventType.CANCELLED}
    states = {JobStatus.DEAD} if deaths else set()
    if EventType.COMPLETED in types:
        states.add(JobStatus.DONE)
    return {
        "any_start": EventType.STARTED in types,
        "any_enqueue": EventType.ENQUEUED in types,
        "any_end_state": bool(states),
        "ends": encode_names("name", sorted(states)),
        "any_death": len(deaths) != 1,
        "was_cancelled": EventType.CANCELLED in deaths,
    }


def _event(row: Row) -> Event:
    at, job_id, queue_name, kind, word = row
    return Event(from_micros(at), _WORDS[word], queue_name, kind, job_id)


def _sorted(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.id)


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
