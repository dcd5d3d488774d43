from __future__ import annotations

import pytest

from flask_forge_jobs.model.durations import countdown, duration, elapsed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "less than 0.1ms"),
        (0.00004, "less than 0.1ms"),
        (0.00042, "0.4ms"),
        (0.0123, "12ms"),
        (0.9994, "999ms"),
        (0.9996, "1s"),
        (1.26, "1.3s"),
        (10, "10s"),
        (59.4, "59s"),
        (59.6, "59s"),
        (240, "4m"),
        (585, "9m"),  # beside "9m 45s" on a page
        (3_599, "59m"),
        (4_800, "1h 20m"),
        (86_399, "23h 59m"),
        (86_400, "1d"),
        (93_600, "1d 2h"),
        (97_199, "1d 2h"),
        (30 * 86_400, "30d"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9.5, "9.5s"), (60, "1m"), (593, "9m 53s"), (3_599, "59m 59s"), (4_805, "1h 20m")],
)
def test_what_still_lasts_has_its_seconds(seconds: float, text: str) -> None:
    assert countdown(seconds) == text


def test_ages_are_in_whole_seconds() -> None:
    texts = [elapsed(seconds) for seconds in (-1, 0, 0.9, 1, 3.8, 59.9, 60, 4_801)]

    assert texts == [
        "under 1s",
        "under 1s",
        "under 1s",
        "1s",
        "3s",
        "59s",
        "1m",
        "1h 20m",
    ]
