"""Time that passes when a test says so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_forge_jobs.testing import FrozenClock
from tests.support.clocks import START_US, MovingClock


def test_it_stands_still_and_moves_both_ways_of_telling_time() -> None:
    source, told = MovingClock(), []
    clock = FrozenClock(source, lambda: told.append(clock.now_us()))
    source.move(100)

    assert (clock.now_us(), clock.monotonic()) == (START_US, START_US / 1e6)
    clock.move(1.5)
    clock.move(timedelta(minutes=1))
    assert clock.now_us() - START_US == 61_500_000
    assert clock.monotonic() - START_US / 1e6 == pytest.approx(61.5)
    clock.move_to(clock.now() + timedelta(days=1))
    assert clock.now_us() - START_US == 61_500_000 + 86_400_000_000
    assert told == [START_US, START_US + 1_500_000, START_US + 61_500_000]


def test_it_does_not_go_back() -> None:
    clock = FrozenClock(MovingClock())

    with pytest.raises(ValueError, match="time cannot go back by 0:00:05"):
        clock.move(-5)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.move_to(clock.now() - timedelta(days=1))
