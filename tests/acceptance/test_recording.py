"""The short form: what recording does to a drain is little beside the drain itself."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.recorder import Recorder
from tests.acceptance.recording import LARGEST_COST, Comparison, compare, drain
from tests.benchmarks.contender import OURS, UNCOUNTED, make_contender
from tests.benchmarks.measure import Watch
from tests.support.databases import sqlite_url
from tests.support.runtimes import claimed
from tests.support.sql import Sql

JOBS = 1000
# About what a dispatcher exchanges at once when it drains.
BATCH = 100
REPEATS = 20


@pytest.mark.parametrize(("name", "counted"), [(OURS, JOBS), (UNCOUNTED, 0)])
def test_the_two_drains_differ_in_what_they_count(
    tmp_path: Path, name: str, counted: int
) -> None:
    path = tmp_path / "queue.sqlite"
    watch = Watch(JOBS)
    contender = make_contender(name, "sqlite", str(path), watch)
    contender.prepare()
    contender.fill(JOBS)

    with contender.working():
        watch.drain_s(60)

    sql = Sql(DatabaseSettings.from_url(sqlite_url(path)))
    totals = "SELECT COALESCE(SUM(completed), 0) FROM forge_metric WHERE level = 10"
    assert sql.value("SELECT COUNT(*) FROM forge_job WHERE status = 'done'") == JOBS
    assert sql.value(f"{totals} AND kind <> ''") == counted


def cpu_us(work: Callable[[], object]) -> float:
    """Return the least CPU that a call took in this thread, in microseconds."""
    found = []
    for _ in range(REPEATS):
        before_s = time.thread_time()
        work()
        found.append((time.thread_time() - before_s) * 1e6)
    return min(found)


def test_recording_is_a_small_part_of_a_drain(tmp_path: Path) -> None:
    """On a busy machine a drain's rate says nothing; CPU is counted instead."""
    source = random.Random(1)
    updates = [
        JobUpdate(
            claimed(f"job-{number}", "noop"),
            JobStatus.DONE,
            run_us=source.randint(10, 1000),
            wait_us=source.randint(1000, 10**7),
            total_us=source.randint(1000, 10**7),
        )
        for number in range(BATCH)
    ]
    recorder = Recorder(SystemClock())

    def record() -> None:
        for _ in range(10):
            recorder.ended(updates)
        recorder.take()

    slices = drain("sqlite", str(tmp_path / "queue.sqlite"), JOBS, 3)

    rate, cpu = compare(slices)
    assert len(rate.recorded) == len(rate.unrecorded) == 3
    order = "".join("R" if each.is_recorded else "-" for each in slices)
    assert order == "R--RR-"
    record_us = cpu_us(record) / (10 * BATCH)
    assert record_us <= LARGEST_COST * min(cpu.unrecorded), (record_us, slices)


def test_cost_is_that_of_the_medians() -> None:
    rate = Comparison("jobs/s", [96, 10, 192], [100, 100, 200], is_rate=True)
    cpu = Comparison("CPU", [52, 51, 90], [50, 50, 50], is_rate=False)

    assert (rate.cost, cpu.cost) == pytest.approx((0.04, 0.04))
    assert rate.middle_half == pytest.approx((0.04, 0.9))
    assert rate.text().split()[-4:] == ["+4.0%", "+4.0%", "+90.0%", "met"]
    assert (rate.best_cost, cpu.best_cost) == pytest.approx((0.04, 0.02))
    missed = Comparison("CPU", [53, 53], [50, 50], is_rate=False)
    assert missed.text().endswith("MISSED")
    assert missed.text(by_best=True).endswith("MISSED")
    assert Comparison("CPU", [51, 99], [50, 50], is_rate=False).is_met(by_best=True)
