"""The right to do some work alone, for a while."""

from __future__ import annotations

from functools import partial

from flask_forge_jobs.storage.base import Storage
from tests.support.sql import Sql
from tests.support.threads import run_together


def test_a_lease_is_one_holders_until_it_is_released(storage: Storage) -> None:
    leases = storage.leases

    assert leases.take("work", "a", 60)
    assert not leases.take("work", "b", 60)
    assert leases.take("other work", "b", 60)
    assert not leases.release("work", "b")
    assert leases.release("work", "a")
    assert leases.take("work", "b", 60)


def test_a_holder_renews_its_lease(storage: Storage, sql: Sql) -> None:
    storage.leases.take("work", "a", 60)
    sql.age(50)

    assert storage.leases.take("work", "a", 60)

    sql.age(50)
    assert not storage.leases.take("work", "b", 60)


def test_an_expired_lease_is_anybodys(storage: Storage, sql: Sql) -> None:
    storage.leases.take("work", "a", 60)
    sql.age(30)
    assert not storage.leases.take("work", "b", 60)  # which does not prolong it
    sql.age(31)

    assert storage.leases.take("work", "b", 60)
    assert not storage.leases.take("work", "a", 60)
    assert not storage.leases.release("work", "a")


def test_a_clock_that_steps_back_prolongs_no_lease_of_a_dead_holder(
    storage: Storage, sql: Sql
) -> None:
    storage.leases.take("work", "a", 60)
    sql.age(-86_400)

    assert not storage.leases.take("work", "b", 60)

    sql.age(61)
    assert storage.leases.take("work", "b", 60)


def test_a_clock_that_steps_back_takes_no_lease_from_a_live_holder(
    storage: Storage, sql: Sql
) -> None:
    storage.leases.take("work", "a", 60)
    sql.age(-86_400)
    taken = [storage.leases.take("work", "b", 60)]
    sql.age(50)

    assert storage.leases.take("work", "a", 60)

    sql.age(50)
    taken.append(storage.leases.take("work", "b", 60))
    assert taken == [False, False]


def test_of_many_takers_at_once_one_wins(storage: Storage) -> None:
    for round_number in range(5):
        name = f"work {round_number}"
        takers = [partial(storage.leases.take, name, f"t{n}", 60) for n in range(6)]

        assert sum(run_together(takers)) == 1
