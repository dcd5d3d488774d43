"""For how long a storage that fails is left alone."""

from __future__ import annotations

from flask_forge_jobs.runtime.back_off import (
    FIRST_BACK_OFF_S,
    LONGEST_BACK_OFF_S,
    BackOff,
)
from tests.support.clocks import MovingClock


def test_each_failure_doubles_the_pause_up_to_a_bound() -> None:
    back_off = BackOff(MovingClock())

    pauses = [back_off.note_failure() for _ in range(7)]

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_BACK_OFF_S, LONGEST_BACK_OFF_S]


def test_a_success_starts_anew() -> None:
    back_off = BackOff(MovingClock())
    back_off.note_failure()
    back_off.note_failure()

    back_off.note_success()

    assert not back_off.is_on
    assert back_off.note_failure() == FIRST_BACK_OFF_S
    assert back_off.is_on


def test_who_ends_rests_for_the_first_pause_at_most() -> None:
    clock = MovingClock()
    back_off = BackOff(clock)
    for _ in range(3):
        back_off.note_failure()
    now = clock.monotonic()

    assert back_off.rests_until(is_ending=False) == now + 4.0
    assert back_off.rests_until(is_ending=True) == now + FIRST_BACK_OFF_S
