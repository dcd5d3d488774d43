from __future__ import annotations

import pytest

from flask_forge_jobs.model.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "less than 0.1 ms"),
        (0.00004, "less than 0.1 ms"),
        (0.00042, "0.4 ms"),
        (0.0123, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.26, "1.3 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (240, "4 min"),
        (3_599, "1 h"),
        (4_800, "1 h 20 min"),
        (86_399, "1 d"),
        (86_400, "1 d"),
        (93_600, "1 d 2 h"),
        (30 * 86_400, "30 d"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
