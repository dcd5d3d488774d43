"""Randomness that leaves the application's own alone."""

from __future__ import annotations

import random

from flask_forge_jobs.randomness import fraction


def test_fractions_are_spread_over_their_range() -> None:
    drawn = [fraction() for _ in range(1_000)]

    assert all(0 <= value < 1 for value in drawn)
    assert {int(value * 4) for value in drawn} == {0, 1, 2, 3}


def test_a_draw_leaves_the_state_of_the_module_random() -> None:
    before = random.getstate()

    fraction()

    assert random.getstate() == before
