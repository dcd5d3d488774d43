"""Ranges of time in addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from flask_forge_jobs.dashboard.charts.ranges import MAX_BUCKETS, PRESETS, chosen

NOW = datetime(2026, 11, 30, 14, 32, 8, tzinfo=UTC)
ZOOM = {"range": "6h", "from": "2026-11-30T12:00Z", "to": "2026-11-30T12:30Z"}


@pytest.mark.parametrize(
    ("preset", "width_s"),
    [
        ("15m", 15),
        ("1h", 60),
        ("6h", 300),
        ("24h", 900),
        ("7d", 7200),
        ("30d", 43_200),
    ],
)
def test_a_preset_ends_now_in_whole_buckets(preset: str, width_s: int) -> None:
    found = chosen(MultiDict({"range": preset}), NOW)

    assert found.width_s == width_s
    assert found.end - found.start == timedelta(seconds=PRESETS[preset][0])
    assert found.end - timedelta(seconds=width_s) < NOW <= found.end
    assert found.span.end == found.end
    assert found.span.is_open


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"range": "99y"},
        {"from": "2026-11-30T12:00Z"},
        {"from": "yesterday", "to": "2026-11-30T12:00Z"},
        {"from": "2027-01-01T00:00Z", "to": "2027-01-02T00:00Z"},
        {"from": "0001-01-01T00:00Z", "to": "0001-01-02T00:00Z"},
    ],
)
def test_an_invalid_range_is_the_default_and_leaves_the_links(
    query: dict[str, str],
) -> None:
    found = chosen(MultiDict(query), NOW)

    assert (found.preset, found.is_custom) == ("1h", False)
    assert found.query == {"range": None}


def test_a_zoom_keeps_the_range_before_it() -> None:
    found = chosen(MultiDict(ZOOM), NOW)

    assert found.is_custom
    assert not found.span.is_open
    assert found.width_s == 30
    assert (found.start.hour, found.end.minute) == (12, 30)
    assert found.query == ZOOM
    assert not any(is_chosen for *_, is_chosen in found.presets())


def test_the_preset_that_is_chosen_is_marked() -> None:
    found = chosen(MultiDict(), NOW, "24h")

    marked = [name for name, *_, is_chosen in found.presets() if is_chosen]
    assert marked == ["24h"]
    assert found.query == {"range": None}


@given(st.datetimes(), st.datetimes())
def test_any_ends_make_few_buckets(start: datetime, end: datetime) -> None:
    query = {"from": f"{start:%Y-%m-%dT%H:%MZ}", "to": f"{end:%Y-%m-%dT%H:%MZ}"}

    found = chosen(MultiDict(query), NOW)

    assert 1 <= found.span.count <= MAX_BUCKETS + 1
    assert found.start < found.end
    assert found.end <= NOW + timedelta(days=1)
    assert found.words


def test_the_current_bucket_has_no_rate_before_a_quarter_has_passed() -> None:
    found = chosen(MultiDict({"range": "24h"}), NOW)

    last = found.span.count - 1
    assert found.minutes(0) == 15
    assert found.minutes(last) is None
    assert found.of_samples.share(0) == 1
