"""Axes are round in their unit, and hold every value."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts.ticks import (
    Unit,
    cleaned,
    durations,
    linear,
    logarithmic,
    text,
)

VALUES = st.lists(st.none() | st.floats(-1e30, 1e30) | st.floats(), max_size=12)


@settings(max_examples=60)
@given(VALUES, st.sampled_from(Unit))
def test_a_linear_axis_holds_every_value_in_few_even_steps(
    values: list[float | None], unit: Unit
) -> None:
    axis = linear(values, unit)

    assert axis.low == 0
    assert all(value is None or value <= axis.high for value in cleaned(values))
    steps = {b - a for a, b in itertools.pairwise(axis.ticks)}
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)
    assert 2 <= len(axis.ticks) <= 6


@settings(max_examples=60)
@given(VALUES)
def test_an_axis_of_durations_holds_every_value(values: list[float | None]) -> None:
    axis = durations(values)

    assert all(value is None or value <= axis.high for value in cleaned(values))
    assert all(a < b for a, b in itertools.pairwise(axis.ticks))


@settings(max_examples=60)
@given(VALUES, st.integers(1, 200))
def test_each_place_is_inside_the_drawing(
    values: list[float | None], height: int
) -> None:
    for axis in (linear(values, Unit.COUNT), logarithmic(values)):
        for value in cleaned(values):
            assert value is None or 0 <= axis.y(value, height) <= height
        assert all(0 <= float(place) <= 100 for place, _ in axis.labels())


@pytest.mark.parametrize(
    ("highest", "unit", "labels"),
    [
        (0, Unit.COUNT, ["0", "1"]),
        (1329, Unit.COUNT, ["0", "500", "1,000", "1,500"]),
        (0.7, Unit.COUNT, ["0", "0.2", "0.4", "0.6", "0.8"]),
        (50_000_000, Unit.MILLISECONDS, ["0", "3h", "6h", "9h", "12h", "15h"]),
        (13_000, Unit.MILLISECONDS, ["0", "5s", "10s", "15s"]),
        (140_000, Unit.MILLISECONDS, ["0", "30s", "1m", "1m 30s", "2m", "2m 30s"]),
        (500_000_000, Unit.BYTES, ["0", "128 MiB", "256 MiB", "384 MiB", "512 MiB"]),
        (80, Unit.PERCENT, ["0", "20%", "40%", "60%", "80%"]),
    ],
)
def test_ticks_are_round_in_their_unit(
    highest: float, unit: Unit, labels: list[str]
) -> None:
    assert [words for _, words in linear([highest], unit).labels()] == labels


def test_values_that_are_far_apart_have_a_logarithmic_axis() -> None:
    axis = durations([120, None, 26_000])

    assert axis.is_log
    assert [text(tick, Unit.MILLISECONDS) for tick in axis.ticks] == [
        "100ms", "1s", "10s", "1m",
    ]  # fmt: skip
    assert not durations([120, 900]).is_log


def test_nothing_and_no_numbers_are_missing() -> None:
    assert cleaned([None, math.nan, math.inf, -1, 2]) == [None, None, None, 0, 2]
    assert linear([None, math.nan], Unit.BYTES).ticks == [0, 1]


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (None, Unit.COUNT, words.NOTHING),
        (math.nan, Unit.BYTES, words.NOTHING),
        (0, Unit.COUNT, "0"),
        (0.44, Unit.COUNT, "0.4"),
        (1158, Unit.COUNT, "1,158"),
        (9.96, Unit.PERCENT, "10%"),
        (4.71, Unit.PERCENT, "4.7%"),
        (0, Unit.MILLISECONDS, "0s"),
        (996, Unit.MILLISECONDS, "996ms"),
        (999.7, Unit.MILLISECONDS, "1s"),
        (3390, Unit.MILLISECONDS, "3.4s"),
        (88_000, Unit.MILLISECONDS, "1m 28s"),
        (7_740_000, Unit.MILLISECONDS, "2h 9m"),
        (90_000_000, Unit.MILLISECONDS, "1d 1h"),
        (1536, Unit.BYTES, "1.5 KiB"),
        (2**31, Unit.BYTES, "2 GiB"),
        (500_000_000, Unit.BYTES, "477 MiB"),
    ],
)
def test_a_value_in_words(value: float | None, unit: Unit, words: str) -> None:
    assert text(value, unit) == words


@given(st.floats() | st.none() | st.integers(), st.sampled_from(Unit))
def test_every_value_has_short_words(value: float | None, unit: Unit) -> None:
    if value is not None and abs(value) > 1e15 and math.isfinite(value):
        value = math.copysign(1e15, value)
    assert 0 < len(text(value, unit)) <= 24
