from __future__ import annotations

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.runtime.service import Watch
from tests.support.clocks import MovingClock

LONGEST_S = 10.0


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def watch(clock: MovingClock) -> Watch:
    return Watch(clock, LONGEST_S)


def fail(watch: Watch, error: Exception) -> None:
    with pytest.raises(type(error)), watch:
        raise error


def test_a_turn_that_takes_too_long_is_stuck(watch: Watch, clock: MovingClock) -> None:
    with watch:
        clock.move(LONGEST_S - 0.1)
        before = watch.is_stuck
        clock.move(0.2)
        during = watch.is_stuck

    assert (before, during, watch.is_stuck) == (False, True, False)


def test_turns_that_only_fail_are_stuck(watch: Watch, clock: MovingClock) -> None:
    fail(watch, TypeError("a bug"))
    with watch:  # which has nothing to do, and so proves nothing
        clock.move(1.0)
    clock.move(LONGEST_S)
    stuck = watch.is_stuck
    watch.note_success()

    assert (stuck, watch.is_stuck) == (True, False)


def test_a_storage_that_fails_is_not_stuck(watch: Watch, clock: MovingClock) -> None:
    fail(watch, TypeError("a bug"))
    clock.move(LONGEST_S)
    fail(watch, StorageUnavailableError("gone"))

    assert not watch.is_stuck


def test_whoever_waits_between_two_turns_is_not_stuck(
    watch: Watch, clock: MovingClock
) -> None:
    with watch:
        watch.note_success()
    clock.move(LONGEST_S)

    assert not watch.is_stuck
