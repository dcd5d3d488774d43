from __future__ import annotations

from datetime import timedelta

import pytest

from flask_forge_jobs.model.activity import (
    Event,
    EventType,
    first_id_at,
    millisecond_of,
)
from flask_forge_jobs.model.instants import from_micros

AT_US = 1_790_000_000_123_456
AT = from_micros(AT_US)


def event(kind: EventType, job_id: str = "J", *, later_us: int = 0) -> Event:
    return Event(AT + timedelta(microseconds=later_us), kind, "mail", "send", job_id)


def test_ids_grow_with_the_milliseconds() -> None:
    ids = [event(EventType.DEAD, later_us=1000 * n).id for n in range(3)]

    assert ids == sorted(set(ids))
    assert event(EventType.ENQUEUED, later_us=1000).id > event(EventType.DEAD).id


def test_the_events_of_a_job_in_one_millisecond_keep_their_order() -> None:
    ids = [event(kind).id for kind in EventType][:3]

    assert ids == sorted(set(ids))


def test_an_id_lies_within_its_millisecond() -> None:
    one = event(EventType.COMPLETED).id

    assert first_id_at(AT_US) <= one < first_id_at(AT_US + 1000)
    assert millisecond_of(one) == AT_US // 1000 * 1000


@pytest.mark.parametrize("micros", [0, 7_258_118_400_000_000])
def test_an_id_has_63_bits_for_two_centuries(micros: int) -> None:
    late = Event(from_micros(micros), EventType.DEAD, "mail", "send", "J")

    assert 0 <= late.id < 2**63


def test_ids_tell_jobs_apart() -> None:
    ids = {event(EventType.ENQUEUED, f"job-{n}").id for n in range(100)}

    assert len(ids) == 100
