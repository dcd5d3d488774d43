from __future__ import annotations

import pytest

from flask_forge_jobs.model.proportions import Failures


def test_the_share_and_its_interval() -> None:
    half = Failures(50, 100)

    assert half.share == 0.5
    low, high = half.bounds
    assert (round(low, 3), round(high, 3)) == (0.344, 0.656)


@pytest.mark.parametrize("failed", [0, 10])
def test_an_interval_stays_within_zero_and_one(failed: int) -> None:
    low, high = Failures(failed, 10).bounds

    assert -1e-9 < low < high < 1 + 1e-9
    assert (round(low, 2), round(high, 2)) == ((0.0, 0.52) if not failed else (0.48, 1))


def test_nothing_is_known_without_runs() -> None:
    assert Failures().share == 0.0
    assert Failures().bounds == (0.0, 1.0)
    assert not Failures(9, 9).is_above(Failures())


def test_the_odds_have_to_double() -> None:
    usual = Failures(100_000, 1_000_000)

    assert not Failures(18_100, 100_000).is_above(usual)
    assert Failures(18_200, 100_000).is_above(usual)


@pytest.mark.parametrize(
    ("failed", "runs", "usual", "stands_out"),
    [
        (2, 100, 0.0, True),
        (2, 100, 0.01, False),
        (3, 100, 0.03, False),
        (25, 100, 0.25, True),
        (24, 100, 0.24, False),
        (19, 19, 0.0, False),
        (20, 20, 1.0, True),
        (0, 0, 0.0, False),
    ],
)
def test_a_share_stands_out_beside_the_usual_one(
    failed: int, runs: int, usual: float, *, stands_out: bool
) -> None:
    assert Failures(failed, runs).stands_out(usual) is stands_out


def test_runs_without_some_of_them() -> None:
    assert Failures(5, 9).less(Failures(2, 4)) == Failures(3, 5)
    # Rows of two levels are not stored in one moment.
    assert Failures(1, 3).less(Failures(2, 4)) == Failures(0, 0)
