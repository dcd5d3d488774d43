"""Who leads: one process at a time, as far as it can know."""

from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.runtime.duties.leader import LEADER_LEASE, LEADER_LEASE_S, Leader
from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import SECOND_US, MovingClock
from tests.support.runtimes import LIMIT_S
from tests.support.sql import Sql


class Clock(MovingClock):
    """One whose wall clock may be set."""

    set_by_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.set_by_us


class Rig:
    """Some processes with one clock; the lease itself runs by the database's."""

    def __init__(self, storage: Storage, sql: Sql, *names: str) -> None:
        self.clock = Clock()
        self.gained: list[str] = []
        self._sql = sql
        self.leaders = [self._leader(storage, name) for name in names]

    def _leader(self, storage: Storage, name: str) -> Leader:
        leader = Leader(storage.leases, worker_id=name, clock=self.clock)
        leader.on_gained = lambda: self.gained.append(name)
        return leader

    def move(self, seconds: float) -> None:
        self.clock.move(seconds)
        self._sql.age(seconds)

    def tick(self) -> list[bool]:
        for leader in self.leaders:
            leader.tick()
        return [leader.is_leader for leader in self.leaders]


def test_one_leads_and_renews(storage: Storage, sql: Sql) -> None:
    """cleanup_lease_grants_exactly_one_pod_per_window"""
    rig = Rig(storage, sql, "a", "b")
    assert not any(leader.is_leader for leader in rig.leaders)

    for _ in range(4):
        assert rig.tick() == [True, False]
        rig.move(LEADER_LEASE_S - 5)

    assert rig.gained == ["a"]


def test_another_leads_when_the_leader_is_silent(storage: Storage, sql: Sql) -> None:
    rig = Rig(storage, sql, "a", "b")
    rig.tick()

    rig.move(LEADER_LEASE_S + 1)

    first, second = rig.leaders
    assert not first.is_leader  # without having asked
    second.tick()
    first.tick()
    assert (first.is_leader, second.is_leader) == (False, True)
    assert rig.gained == ["a", "b"]


def test_a_leader_that_stops_is_followed_at_once(storage: Storage, sql: Sql) -> None:
    rig = Rig(storage, sql, "a", "b")
    first, second = rig.leaders
    service = Service(first)
    service.start()
    service.stop()
    assert service.join(LIMIT_S)

    assert not first.is_leader
    second.tick()
    assert second.is_leader
    assert sql.run("SELECT name, holder FROM forge_lease") == [(LEADER_LEASE, "b")]


def test_a_leader_leads_on_while_the_database_is_away(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(storage, sql, "a")
    (leader,) = rig.leaders
    leader.tick()

    def fail(*_: object) -> bool:
        raise StorageUnavailableError("gone")

    monkeypatch.setattr(type(storage.leases), "take", fail)
    with pytest.raises(StorageUnavailableError):
        leader.tick()

    assert leader.is_leader
    rig.clock.move(LEADER_LEASE_S)
    assert not leader.is_leader


def test_a_leader_counts_its_lease_from_before_it_asks(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database begins the lease before the answer is here."""
    rig = Rig(storage, sql, "a")
    (leader,) = rig.leaders
    leases = type(storage.leases)
    take = leases.take

    def take_slowly(*arguments: Any) -> bool:
        has_lease = take(*arguments)
        rig.clock.move(10.0)
        return has_lease

    monkeypatch.setattr(leases, "take", take_slowly)
    leader.tick()
    before = leader.is_leader
    rig.clock.move(LEADER_LEASE_S - 10.0)

    assert before
    assert not leader.is_leader


def test_a_leader_whose_host_slept_leads_no_more(storage: Storage, sql: Sql) -> None:
    rig = Rig(storage, sql, "a")
    (leader,) = rig.leaders
    leader.tick()

    rig.clock.sleep(LEADER_LEASE_S)

    assert not leader.is_leader


def test_a_clock_that_is_set_back_prolongs_no_lease(storage: Storage, sql: Sql) -> None:
    rig = Rig(storage, sql, "a")
    (leader,) = rig.leaders
    leader.tick()

    rig.clock.move(LEADER_LEASE_S)
    rig.clock.set_by_us = -int(LEADER_LEASE_S * SECOND_US)

    assert not leader.is_leader
