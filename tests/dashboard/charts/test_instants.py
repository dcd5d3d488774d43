"""Labels of time are round, named by day where that is needed, and far apart."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.dashboard.charts.instants import bucket_text, time_labels

END = datetime(2026, 11, 30, 14, 35, tzinfo=UTC)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001
    st.integers(1, 400 * 86_400),
)
def test_labels_are_few_and_apart(naive: datetime, seconds: int) -> None:
    start = naive.replace(tzinfo=UTC)
    labels = time_labels(start, start + timedelta(seconds=seconds))

    places = [float(label.place) for label in labels]
    assert len(labels) <= 8
    assert sum(not label.is_extra for label in labels) <= 3
    assert all(0 <= place <= 100 for place in places)
    assert all(b - a >= 100 / 7 - 0.1 for a, b in itertools.pairwise(places))
    assert all(a.text != b.text for a, b in itertools.pairwise(labels))


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (1, ["13:40", "13:50", "14:00", "14:10", "14:20", "14:30"]),
        (24, ["Sun 18:00", "Mon 30", "06:00", "12:00"]),
        (
            7 * 24,
            ["Tue 24", "Wed 25", "Thu 26", "Fri 27", "Sat 28", "Sun 29", "Mon 30"],
        ),
        (30 * 24, ["2 Nov", "9 Nov", "16 Nov", "23 Nov", "30 Nov"]),
    ],
)
def test_labels_name_their_days(hours: int, words: list[str]) -> None:
    labels = time_labels(END - timedelta(hours=hours), END)

    assert [label.text for label in labels] == words


def test_labels_stand_over_their_instants() -> None:
    """The first was pushed right: 66 pixels to the second, and 77 between others."""
    labels = time_labels(END - timedelta(minutes=61), END)

    assert {label.anchor for label in labels} == {"middle"}
    start = datetime(2026, 11, 29, 18, tzinfo=UTC)
    first, *others = time_labels(start, start + timedelta(days=1))
    assert (first.text, first.anchor) == ("Sun 18:00", "start")
    assert [label.anchor for label in others] == ["middle"] * 3 + ["end"]


def test_nothing_has_no_labels() -> None:
    assert time_labels(END, END) == []


@pytest.mark.parametrize(
    ("width_s", "names_day", "words"),
    [
        (86_400, False, "Mon 30 Nov"),
        (7200, True, "Mon 30 14:35"),
        (60, False, "14:35"),
        (15, False, "14:35:00"),
    ],
)
def test_a_bucket_is_named_by_its_width(
    width_s: int, names_day: bool, words: str
) -> None:
    assert bucket_text(END, width_s, names_day=names_day) == words
