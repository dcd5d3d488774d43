"""For how long the jobs of a worker are its own."""

from __future__ import annotations

import os

import pytest

from flask_forge_jobs.runtime.lease import Lease
from tests.support.clocks import MovingClock

LEASE_S = 60.0


@pytest.fixture
def lease(clock: MovingClock) -> Lease:
    return Lease(LEASE_S, clock)


def test_it_may_claim_for_a_lease_after_the_last_beat(
    lease: Lease, clock: MovingClock
) -> None:
    clock.move(LEASE_S - 0.1)
    before = lease.is_fresh, lease.is_in_force()
    clock.move(0.2)
    after = lease.is_fresh, lease.is_in_force()
    lease.renew(clock.monotonic(), clock.since_boot())

    assert (before, after) == ((True, True), (False, False))
    assert (lease.is_fresh, lease.is_in_force()) == (True, True)


def test_a_host_that_slept_for_a_lease_claims_nothing(
    lease: Lease, clock: MovingClock
) -> None:
    """B2: its monotonic clock stood still, those of the other hosts did not."""
    clock.sleep(LEASE_S)

    assert (lease.is_fresh, lease.is_in_force()) == (False, False)


def test_it_claims_nothing_beyond_its_schema(lease: Lease) -> None:
    lease.is_outdated = True

    assert not lease.is_in_force()


@pytest.mark.parametrize(("change", "may"), [(0, True), (1, False)])
def test_it_claims_nothing_without_its_parent(
    clock: MovingClock, change: int, *, may: bool
) -> None:
    """A6"""
    lease = Lease(LEASE_S, clock, parent_pid=os.getppid() + change)

    assert lease.is_in_force() is may


def test_what_was_refused_counts_as_not_written(
    lease: Lease, clock: MovingClock
) -> None:
    """A full disk may refuse the outcomes and still have room for a heartbeat."""
    began_at = clock.monotonic()
    clock.move(5)
    lease.renew(clock.monotonic(), clock.since_boot())
    written = lease.written_until
    lease.refused_since = began_at

    assert (written, lease.written_until) == (began_at + 5, began_at)
