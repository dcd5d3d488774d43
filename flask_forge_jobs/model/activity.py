"""Activity: the events of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from flask_forge_jobs.model.bounds import Choice
from flask_forge_jobs.model.instants import MILLISECOND_US, to_micros

_LOW_BITS = 20
_HASH_BITS = 18


class EventType(Choice):
    """An event that a job's row records: it was enqueued, started or ended."""

    ENQUEUED = "enqueued"
    STARTED = "started"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"


_STEPS = {
    EventType.ENQUEUED: 0,
    EventType.STARTED: 1,
    EventType.COMPLETED: 2,
    EventType.DEAD: 2,
    EventType.CANCELLED: 2,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one job."""

    at: datetime
    type: EventType
    queue_name: str
    kind: str
    job_id: str

    @property
    def id(self) -> int:
        """A number that grows with time and is the same at each reading.

        The upper bits are milliseconds; the lower ones tell the events of one
        millisecond apart and keep those of one job in order.
        """
        digest = blake2b(self.job_id.encode(), digest_size=4).digest()
        low = int.from_bytes(digest, "big") >> (32 - _HASH_BITS)
        millisecond = to_micros(self.at) // MILLISECOND_US
        return millisecond << _LOW_BITS | _STEPS[self.type] << _HASH_BITS | low


def first_id_at(micros: int) -> int:
    """Return the smallest event id in the millisecond of an instant."""
    return micros // MILLISECOND_US << _LOW_BITS


def millisecond_of(event_id: int) -> int:
    """Return the first microsecond of an id's millisecond."""
    return (event_id >> _LOW_BITS) * MILLISECOND_US
