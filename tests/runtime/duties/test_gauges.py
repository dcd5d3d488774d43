from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

from flask_forge_jobs.model.gauges import ALL_QUEUES, Gauges
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.metrics import window
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.runtime.duties.gauges import Gauger
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import SECOND_US, MovingClock
from tests.support.sql import Sql


class Rank:
    """Stands for the leader's duty."""

    def __init__(self, *, is_leader: bool = True) -> None:
        self.is_leader = is_leader


def gauger(storage: Storage, *, is_leader: bool = True, now_us: int = 0) -> Gauger:
    rank = cast("Leader", Rank(is_leader=is_leader))
    return Gauger(storage, rank, clock=MovingClock(now_us))


def stored(storage: Storage, sql: Sql) -> dict[str, Gauges]:
    start = from_micros(sql.now_us()) - timedelta(minutes=30)
    names = ["bulk", "mail", ALL_QUEUES]
    span = window(start, start + timedelta(hours=1), 3600)
    found = storage.gauges.within(span, 60, names)
    return {name: buckets[0] for name, buckets in found.items()}


def test_the_leader_measures_every_queue(storage: Storage, sql: Sql) -> None:
    for name in ("bulk", "mail"):
        storage.queues.ensure(name)
    storage.jobs.enqueue_many([NewJob("noop", queue_name="mail")] * 3)
    storage.jobs.enqueue(NewJob("noop", queue_name="mail", delay=3600))
    [job] = storage.jobs.claim("mail", "w", 1)
    slots = [SlotReport("mail-0", "mail", job.id), SlotReport("mail-1", "mail")]
    storage.workers.beat("w", None, ["mail"], slots)

    assert gauger(storage).tick() is True

    assert stored(storage, sql) == {
        "bulk": Gauges(samples=1),
        "mail": Gauges(1, 2, 0, 1, 1, 1),
        ALL_QUEUES: Gauges(1, 2, 0, 1, 1, 1),
    }


def test_silent_workers_are_not_live(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("mail")
    storage.workers.beat("w", None, ["mail"], [SlotReport("mail-0", "mail")])
    sql.age(61)

    gauger(storage).tick()

    assert stored(storage, sql)["mail"] == Gauges(samples=1)


def test_others_measure_nothing(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("mail")

    assert gauger(storage, is_leader=False).tick() is False

    assert stored(storage, sql) == {}


@pytest.mark.parametrize(("into_s", "pause_s"), [(0, 90), (30, 60), (59, 31)])
def test_every_minute_is_measured_near_its_middle(
    storage: Storage, into_s: int, pause_s: float
) -> None:
    now_us = 60_000_000 * SECOND_US + into_s * SECOND_US

    assert gauger(storage, now_us=now_us).pause_s() == pause_s
