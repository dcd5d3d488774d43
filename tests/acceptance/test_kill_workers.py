"""The short forms of the kill driver (fault matrix A1, A7 and B2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.kill_workers import Driver, Plan
from tests.support.backends import postgres_first


@postgres_first
def test_killed_workers_lose_nothing(database_url: str, tmp_path: Path) -> None:
    # Stalls of a busy machine are shorter than such a lease.
    plan = Plan(jobs=400, kills=2, stalls=0, lease_s=6.0, seed=SHORT_SEED)

    report = Driver(plan, database_url, tmp_path).run()

    assert report.is_sound, report.text()


@pytest.mark.long
def test_fleet_that_dies_as_a_whole_recovers_alone(
    database_url: str, tmp_path: Path
) -> None:
    """Everything is killed at once and started again; nobody repairs anything."""
    plan = Plan(jobs=600, kills=2, victims=4, stalls=0, seed=SHORT_SEED)

    report = Driver(plan, database_url, tmp_path).run()

    assert report.is_sound, report.text()


@pytest.mark.long
def test_families_and_forks_lose_nothing_either(
    database_url: str, tmp_path: Path
) -> None:
    """A group gets SIGTERM at once, then SIGKILL; tasks and a producer fork."""
    plan = Plan(
        jobs=1_500, kills=8, stalls=0, processes=1, families=1, forks=8, seed=SHORT_SEED
    )

    report = Driver(plan, database_url, tmp_path).run()

    assert report.is_sound, report.text()
    assert report.figures["hits on families"], report.text()
    assert report.figures["jobs of children of tasks"], report.text()


@pytest.mark.long
@pytest.mark.parametrize("backend", ["postgres"])
def test_stalled_worker_finishes_nothing_that_it_lost(
    database_url: str, tmp_path: Path
) -> None:
    """Killed workers cannot finish late; one that was stopped and goes on does.

    On SQLite a stopped process may hold a lock that every writer waits for, which is
    another fault and not settled yet; ``kill_workers --stalls`` runs it there.
    """
    plan = Plan(jobs=3_000, kills=2, stalls=2, seed=SHORT_SEED)

    report = Driver(plan, database_url, tmp_path).run()

    assert report.is_sound, report.text()
    assert report.figures["late ends provoked"], report.text()
