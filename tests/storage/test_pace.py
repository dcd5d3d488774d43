from __future__ import annotations

from functools import partial

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.pace import PAUSES, SLICE_S, Pace
from tests.support.clocks import MovingClock


class Waits:
    """Records every pause and lets the time pass."""

    def __init__(self, clock: MovingClock) -> None:
        self.seconds: list[float] = []
        self._clock = clock

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._clock.move(seconds)


def test_a_pause_is_as_long_as_what_came_before_it(storage: Storage) -> None:
    clock = MovingClock()
    waits = Waits(clock)
    pace = Pace(storage.backend, clock, waits)

    def hold(seconds: float, _: Transaction) -> float:
        clock.move(seconds)
        return seconds

    for held_s in (3.0, 1.0, 2.0):
        assert pace.write(storage.database.write, partial(hold, held_s)) == held_s

    expected = [PAUSES * 3.0, PAUSES * 1.0] if storage.backend == "sqlite" else []
    assert waits.seconds == pytest.approx(expected)


def test_time_that_has_passed_counts(storage: Storage) -> None:
    clock = MovingClock()
    waits = Waits(clock)
    pace = Pace(storage.backend, clock, waits)

    pace.write(storage.database.write, lambda _: clock.move(1.0))
    clock.move(PAUSES * 1.0)
    pace.write(storage.database.write, lambda _: None)

    assert waits.seconds == []


def test_a_rest_ends_as_soon_as_it_has_to(storage: Storage) -> None:
    clock = MovingClock()
    waits = Waits(clock)
    pace = Pace(storage.backend, clock, waits)
    pace.write(storage.database.write, lambda _: clock.move(1.0))

    has_rested = pace.rest(lambda: len(waits.seconds) == 3)
    short = len(waits.seconds)
    at_last = pace.rest(lambda: False)
    pace.write(storage.database.write, lambda _: None)

    is_paced = storage.backend == "sqlite"
    assert (has_rested, short) == ((False, 3) if is_paced else (True, 0))
    assert at_last
    assert sum(waits.seconds) == pytest.approx(PAUSES if is_paced else 0.0)
    assert max(waits.seconds, default=0.0) <= SLICE_S


def test_what_fails_is_followed_by_a_pause_too(storage: Storage) -> None:
    clock = MovingClock()
    waits = Waits(clock)
    pace = Pace(storage.backend, clock, waits)

    def fail(_: Transaction) -> None:
        clock.move(1.0)
        raise InvalidInputError("x", "refused")

    with pytest.raises(InvalidInputError):
        pace.write(storage.database.write, fail)
    pace.write(storage.database.write, lambda _: None)

    assert len(waits.seconds) == (1 if storage.backend == "sqlite" else 0)
