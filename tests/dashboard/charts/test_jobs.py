"""Charts of jobs: rates a minute, gaps without a run, and an open last bucket."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from werkzeug.datastructures import MultiDict

from flask_forge_jobs.dashboard.charts import jobs
from flask_forge_jobs.dashboard.charts.figure import Figure
from flask_forge_jobs.dashboard.charts.ranges import Range, chosen
from flask_forge_jobs.handlers.series import Bucket

NOW = datetime(2026, 11, 30, 14, 30, 40, tzinfo=UTC)


def shown(seconds: int = 0) -> Range:
    """Return three buckets of five minutes, of which the last is the present one."""
    range_ = chosen(
        MultiDict({"from": "2026-11-30T14:20Z", "to": "2026-11-30T23:00Z"}),
        NOW + timedelta(seconds=seconds),
    )
    return Range(
        range_.preset, range_.start, range_.start + timedelta(minutes=15), 300,
        is_custom=True, now=range_.now,
    )  # fmt: skip


def bucket(number: int, **figures: int) -> Bucket:
    zeros = dict.fromkeys(Bucket._fields[1:], 0)
    at = NOW + timedelta(minutes=number)
    return Bucket(at, **{**zeros, **figures})


BUCKETS = [
    bucket(0, enqueued=20, started=16, completed=15, run_p50_ms=5, run_p95_ms=9),
    bucket(1, dead=10, retried=5),
    bucket(2, completed=4),
]


def values(figure: Figure) -> dict[str, list[float | None]]:
    return {each.name: list(each.values) for each in (*figure.lines, *figure.bars)}


def test_counts_become_rates_per_minute() -> None:
    drawn = values(jobs.throughput(shown(80), BUCKETS))

    assert drawn["Completed"] == [3, 0, 2]
    assert drawn["Enqueued"] == [4, 0, 0]
    assert (drawn["Dead"], drawn["Retried"]) == ([0, 2, 0], [0, 1, 0])


def test_the_current_bucket_is_open_at_first() -> None:
    drawn = values(jobs.throughput(shown(), BUCKETS))

    assert drawn["Completed"] == [3, 0, None]


def test_the_current_minute_shows_its_count() -> None:
    now = NOW - timedelta(seconds=20)
    found = chosen(MultiDict({"range": "1h"}), now)
    made = [bucket(0)] * (found.span.count - 1) + [bucket(1, completed=72)]

    assert values(jobs.throughput(found, made))["Completed"][-1] == 72


@pytest.mark.parametrize(
    ("draw", "medians"),
    [
        (jobs.run_time, [5, None, 0]),
        (jobs.wait_time, [0, None, None]),
    ],
)
def test_a_bucket_without_a_run_is_a_gap(
    draw: Callable[..., Figure], medians: list[float | None]
) -> None:
    assert values(draw(shown(), BUCKETS))["p50"] == medians
