"""The short forms of the kill driver (fault matrix A1 and A7)."""

from __future__ import annotations

import secrets
from pathlib import Path

from tests.acceptance.kill_workers import Driver, Plan


def test_killed_workers_lose_nothing(database_url: str, tmp_path: Path) -> None:
    plan = Plan(jobs=2_000, kills=5, seed=secrets.randbelow(1_000_000))

    report = Driver(plan, database_url, tmp_path).run()

    assert report.is_sound, report.text()


def test_fleet_that_dies_as_a_whole_recovers_alone(
    database_url: str, tmp_path: Path
) -> None:
    """Everything is killed at once and started again; nobody repairs anything."""
    plan = Plan(jobs=600, kills=2, victims=4, seed=secrets.randbelow(1_000_000))

    report = Driver(plan, database_url, tmp_path).run()

    assert report.is_sound, report.text()
