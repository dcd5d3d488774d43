"""The short form of the driver in ``limiting``, and that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.ledger import Kill, Line
from tests.acceptance.limit_checks import (
    SECOND_NS,
    Grant,
    Sitting,
    excess,
    grants,
    most_at_once,
    sittings,
    used_share,
)
from tests.acceptance.limiting import Driver, Size

SHORT = Size(processes=3, seconds=4.0, kills=2, between_s=1.0)
# A busy machine may be late; the full form asks for more.
LEAST_SHARE = 0.7


@pytest.mark.long
def test_a_shared_budget_is_used_and_never_exceeded(
    database_url: str, tmp_path: Path
) -> None:
    driver = Driver(SHORT, SHORT_SEED, database_url, tmp_path)

    share = driver.spend()

    assert driver.complaints == [], driver.text()
    assert share >= LEAST_SHARE, driver.text()


@pytest.mark.long
def test_kills_leave_no_permit_taken_and_none_given_twice(
    database_url: str, tmp_path: Path
) -> None:
    """I11"""
    driver = Driver(SHORT, SHORT_SEED, database_url, tmp_path)

    driver.kill()

    assert driver.complaints == [], driver.text()


def at(*seconds: float) -> list[Grant]:
    """Return tokens that were got at these instants, a millisecond after the asking."""
    return [
        Grant(int(each * SECOND_NS), int((each + 0.001) * SECOND_NS))
        for each in seconds
    ]


def test_a_window_that_exceeds_the_budget_is_found() -> None:
    even = at(*(number / 10 for number in range(100)))
    crowded = sorted([*even, *at(5.01, 5.02)], key=lambda grant: grant.got_ns)

    assert excess(even, 1, 10.0) <= 0
    assert excess(crowded, 1, 10.0) == pytest.approx(2, abs=0.2)
    assert excess(crowded, 3, 10.0) <= 0


def test_a_line_that_is_written_late_is_no_excess() -> None:
    late = [Grant(0, SECOND_NS), *at(1.0)]

    assert excess(late, 1, 1.0) <= 0


def test_the_share_is_that_of_the_budget() -> None:
    assert used_share(at(*range(11)), 1, 1.0) == pytest.approx(1, abs=0.01)
    assert used_share(at(*range(0, 11, 2)), 1, 1.0) == pytest.approx(0.55, abs=0.01)


def test_who_was_put_off_counts_from_its_last_question() -> None:
    lines = [
        Line("A", "job", 1, "host", 7, 1),
        Line("A", "job", 1, "host", 7, 5),
        Line("S", "job", 1, "host", 7, 6),
    ]

    assert grants(lines) == [Grant(5, 6)]


def test_a_run_that_was_killed_had_its_permit_until_then() -> None:
    lines = [
        Line("S", "a", 1, "host", 7, 10),
        Line("S", "b", 1, "host", 8, 11),
        Line("E", "b", 1, "host", 8, 20),
        Line("S", "c", 1, "host", 9, 21),
    ]
    kills = [Kill(7, "host", 15)]

    found, unexplained = sittings(lines, kills, {"a": 1, "b": 1, "c": 1})

    assert found == [Sitting(1, 10, 15), Sitting(1, 11, 20)]
    assert len(unexplained) == 1


def test_runs_at_once_are_counted_for_each_permit() -> None:
    found = [
        Sitting(1, 0, 10),
        Sitting(1, 5, 15),
        Sitting(1, 10, 20),
        Sitting(2, 0, 20),
    ]

    assert most_at_once(found) == {1: 2, 2: 1}
    assert most_at_once(found, after_ns=10) == {1: 1}
