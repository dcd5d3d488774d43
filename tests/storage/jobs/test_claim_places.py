"""Claims that begin behind the index entries of jobs that were claimed before."""

from __future__ import annotations

from functools import partial

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.outcomes import Released
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs.claim_places import LONGEST_S, SLACK_US, ClaimPlaces
from tests.support.clocks import MovingClock
from tests.support.jobs import OWNER, QUEUE, enqueue, finish
from tests.support.runtimes import claimed
from tests.support.sql import Sql

GONE = 12_000
JOB = claimed("a")._replace(priority=3, scheduled_at_us=7_000_000)


@pytest.fixture
def places(clock: MovingClock) -> ClaimPlaces:
    return ClaimPlaces(clock.monotonic)


@pytest.fixture
def sql(postgres: Storage, postgres_settings: DatabaseSettings) -> Sql:
    """Of a database with many entries of jobs that are gone."""
    postgres.open()
    sql = Sql(postgres_settings)
    sql.seed(GONE, prefix="gone" * 10)
    sql.run("DELETE FROM forge_job")
    return sql


def place_of(places: ClaimPlaces) -> tuple[int, int] | None:
    return places.known([JOB.queue_name]).get(JOB.queue_name)


def test_a_queue_whose_claims_read_few_pages_has_no_place(places: ClaimPlaces) -> None:
    places.learn({}, [JOB])

    assert place_of(places) is None


def test_a_place_is_a_little_before_the_last_job(places: ClaimPlaces) -> None:
    """Transactions that began before it may commit after it"""
    places.learn({JOB.queue_name: 1000}, [JOB._replace(priority=0), JOB])

    assert place_of(places) == (3, 7_000_000 - SLACK_US)


def test_a_place_moves_on_with_each_claim_and_never_back(places: ClaimPlaces) -> None:
    places.learn({JOB.queue_name: 1000}, [JOB])

    places.learn({}, [JOB._replace(scheduled_at_us=9_000_000)])
    places.learn({}, [JOB._replace(priority=1)])

    assert place_of(places) == (3, 9_000_000 - SLACK_US)


@pytest.mark.parametrize(("pages", "seconds"), [(1000, 0.1), (10**6, LONGEST_S)])
def test_it_claims_from_the_front_again_the_later_the_more_that_reads(
    places: ClaimPlaces, clock: MovingClock, pages: int, seconds: float
) -> None:
    places.learn({JOB.queue_name: pages}, [JOB])

    clock.move(seconds - 0.01)
    before = place_of(places)
    clock.move(0.02)

    assert before is not None
    assert place_of(places) is None


def test_more_urgent_jobs_are_claimed_at_once_and_earlier_ones_soon(
    postgres: Storage, sql: Sql, places: ClaimPlaces, clock: MovingClock
) -> None:
    claim = partial(postgres.jobs.exchange, OWNER, (), promote=False, places=places)
    ids = [enqueue(postgres) for _ in range(3)]

    first = claim({QUEUE: 1})
    urgent = enqueue(postgres, priority=-1)
    sql.run("UPDATE forge_job SET scheduled_at = 1 WHERE id = ?", ids[1])
    second = claim({QUEUE: 9})
    assert second.look_in_s is not None
    clock.move(second.look_in_s + 0.001)
    third = claim({QUEUE: 9})

    assert [each.id for each in first.claimed] == ids[:1]
    assert [each.id for each in second.claimed] == [urgent, ids[2]]
    assert [each.id for each in third.claimed] == ids[1:2]
    assert third.look_in_s is None


@pytest.mark.usefixtures("sql")
def test_a_claim_from_a_place_that_gets_all_it_asks_for_has_no_time_to_look(
    postgres: Storage, places: ClaimPlaces
) -> None:
    claim = partial(postgres.jobs.exchange, OWNER, (), {QUEUE: 1}, places=places)
    ids = [enqueue(postgres) for _ in range(2)]
    claim()

    (job,) = claim().claimed

    assert place_of(places) is not None
    assert (job.id, claim().look_in_s is None) == (ids[1], False)


@pytest.mark.usefixtures("sql")
def test_without_places_a_claim_begins_at_the_front(postgres: Storage) -> None:
    ids = [enqueue(postgres) for _ in range(2)]
    (first,) = postgres.jobs.claim(QUEUE, OWNER, 1)
    postgres.jobs.claim(QUEUE, OWNER, 1)
    assert finish(postgres, first, Released())

    (again,) = postgres.jobs.claim(QUEUE, OWNER, 1)

    assert again.id == ids[0]
