from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.model.instants import (
    MAX_INSTANT_US,
    format_instant,
    from_micros,
    optional_from_micros,
    to_micros,
)


@given(st.integers(0, MAX_INSTANT_US))
def test_micros_round_trip(micros: int) -> None:
    assert to_micros(from_micros(micros)) == micros


@given(st.integers(0, MAX_INSTANT_US))
def test_formatted_instants_read_back_exactly(micros: int) -> None:
    text = format_instant(from_micros(micros))

    assert to_micros(datetime.fromisoformat(text)) == micros


def test_last_instant_is_the_end_of_the_year_9999() -> None:
    assert format_instant(from_micros(MAX_INSTANT_US)) == "9999-12-31T23:59:59.999999Z"


def test_zones_are_converted() -> None:
    there = datetime(2026, 7, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    assert from_micros(to_micros(there)) == datetime(2026, 6, 30, 20, 30, tzinfo=UTC)


def test_optional_from_micros_passes_none_through() -> None:
    assert optional_from_micros(None) is None
    assert optional_from_micros(0) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "2026-09-16T09:30:00Z"),
        (5_000, "2026-09-16T09:30:00.005Z"),
        (250_000, "2026-09-16T09:30:00.250Z"),
        (1, "2026-09-16T09:30:00.000001Z"),
        (118_250, "2026-09-16T09:30:00.118250Z"),
    ],
)
def test_fraction_is_the_shortest_that_loses_nothing(micros: int, text: str) -> None:
    instant = datetime(2026, 9, 16, 9, 30, 0, micros, tzinfo=UTC)

    assert format_instant(instant) == text
