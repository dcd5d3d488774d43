"""The short form of the driver in ``sharing``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.sharing import EVENTS, Driver, Event, expected


@pytest.mark.long
def test_shares_follow_within_ten_seconds(database_url: str, tmp_path: Path) -> None:
    driver = Driver(1, SHORT_SEED, database_url, tmp_path)

    assert driver.run(), driver.text()

    assert {event.name for event in driver.events} == set(EVENTS)


@pytest.mark.parametrize(
    ("processes", "shares"),
    [
        (1, {"one": [1], "three": [3], "ten": [10]}),
        (2, {"one": [1, 0], "three": [2, 1], "ten": [5, 5]}),
        (3, {"one": [1, 0, 0], "three": [1, 1, 1], "ten": [4, 3, 3]}),
    ],
)
def test_what_is_expected(processes: int, shares: dict[str, list[int]]) -> None:
    assert expected(processes) == shares


@pytest.mark.parametrize(
    ("took_s", "is_met"), [(9.9, True), (10.1, False), (None, False)]
)
def test_what_comes_late_is_noticed(took_s: float | None, *, is_met: bool) -> None:
    assert Event("left", 2, took_s).is_met is is_met
