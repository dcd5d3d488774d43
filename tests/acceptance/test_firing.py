"""The short form of the driver in ``firing``, and that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_forge_jobs.model.instants import SECOND_US
from tests.acceptance.firing import Driver, Plan, faults_of

FIRST = {"a": 5 * SECOND_US, "b": 6 * SECOND_US}
SOUND = [("a", n * SECOND_US) for n in (5, 6, 7, 8)] + [
    ("b", n * SECOND_US) for n in (6, 7, 8)
]


@pytest.mark.long
def test_each_instant_is_fired_once_though_the_leader_is_stopped(
    database_url: str, tmp_path: Path
) -> None:
    plan = Plan(firings=200, schedules=20, processes=3, handovers=1)

    report = Driver(plan, database_url, tmp_path).run()

    assert report.faults == [], report.text()
    assert report.figures["leaders that were stopped"] == 1


def test_what_is_sound_has_no_faults() -> None:
    assert list(faults_of(FIRST, SOUND)) == []


@pytest.mark.parametrize(
    ("fired", "fault"),
    [
        ([*SOUND, SOUND[2]], f"a fired 2 times for {7 * SECOND_US}"),
        (SOUND[:1] + SOUND[2:], f"a left out {6 * SECOND_US}"),
        (SOUND[1:], f"a left out {5 * SECOND_US}"),
        (SOUND[:4], "b never fired"),
        (
            [*SOUND, ("b", 7 * SECOND_US + 1)],
            f"b fired for {7 * SECOND_US + 1}, which is no instant of it",
        ),
        (
            [*SOUND, ("b", 5 * SECOND_US)],
            f"b fired for {5 * SECOND_US}, which is no instant of it",
        ),
    ],
)
def test_every_fault_is_noticed(fired: list[tuple[str, int]], fault: str) -> None:
    assert list(faults_of(FIRST, fired)) == [fault]


def test_clocks_are_wrong_both_ways() -> None:
    assert Plan(processes=5).skews_s() == [-2.0, -1.0, 0.0, 1.0, 2.0]
