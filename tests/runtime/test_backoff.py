"""How long something that fails is left alone."""

from __future__ import annotations

import pytest

from flask_forge_jobs.runtime.service import FIRST_S, LONGEST_S, Backoff


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (Backoff(), [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_S, LONGEST_S]),
        (Backoff(0.5), [0.5, 1.0, 2.0]),
        (Backoff(15.0), [15.0, 30.0, 30.0]),
        (Backoff(300.0), [300.0, 300.0]),
        (Backoff(2.0, 0.0), [2.0, 2.0, 2.0]),
    ],
    ids=["default", "first", "longest", "first above the longest", "never longer"],
)
def test_each_failure_doubles_the_pause_up_to_a_bound(
    backoff: Backoff, pauses: list[float]
) -> None:
    assert [backoff.fail() for _ in pauses] == pauses
    assert backoff.pause_s == pauses[-1]


def test_a_success_starts_anew() -> None:
    backoff = Backoff()
    backoff.fail()
    backoff.fail()

    backoff.reset()

    assert backoff.pause_s == 0.0
    assert backoff.fail() == FIRST_S
