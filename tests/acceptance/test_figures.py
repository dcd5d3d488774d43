"""What real processes counted equals the rows, but for what killed ones still held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.figures import Driver, Percentile, Plan, Report
from tests.acceptance.serving import serving
from tests.support.backends import sqlite_first
from tests.support.client import post_json, send
from tests.support.sql import Sql


@pytest.mark.long
def test_figures_equal_the_rows_although_workers_are_killed(
    database_url: str, tmp_path: Path
) -> None:
    """``python -m tests.acceptance.figures`` is the whole measurement."""
    plan = Plan(jobs=4000, slack_us=5000, seed=SHORT_SEED)

    report = Driver(plan, database_url, tmp_path).run()

    assert report.is_met, report.text()
    assert max(report.missing.values()) < plan.jobs // 2, report.text()


def test_a_report_tells_what_is_missed() -> None:
    percentile = Percentile("run p50", 50_000, 50_000, 50_000, 51_500, 0)
    report = Report("title", 10, 10, {10: 3}, 1, 2, [percentile], [])

    assert [line.split()[-1] for line in report.text().splitlines()] == [
        *["title", "10", "3", "MISSED", "error", "MISSED"]
    ]
    assert not report.is_met
    assert replace(percentile, slack_us=1000).is_met
    assert replace(report, held_writing=3, percentiles=[]).is_met


@sqlite_first
def test_a_server_that_stops_stores_what_it_has_just_counted(
    database_url: str, tmp_path: Path, sql: Sql
) -> None:
    """Both server processes flush at their exit, and a fork inherits no figures."""
    with serving(database_url, tmp_path, "--workers=2", "--preload") as server:
        port = server.port()
        for _ in range(20):
            body = {"kind": "send", "payload": {}}
            assert send(port, post_json("/jobs/enqueue", body)).status == 200
        assert server.stop() == 0

    totals = "SELECT SUM(enqueued) FROM forge_metric WHERE level = 10 AND kind = 'send'"
    assert [int(count) for (count,) in sql.run(totals)] == [20]
