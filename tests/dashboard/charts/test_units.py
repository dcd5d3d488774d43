"""Values in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts.units import Unit, text


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
