"""The past has as many jobs as the orders to come, and less of them at night."""

from __future__ import annotations

from collections import Counter

import pytest

from flask_forge_jobs.demo import shop
from flask_forge_jobs.demo.flows import (
    FLOWS,
    PAUSED_FOR_US,
    Flow,
    Sums,
    daylight,
    sums_of,
)
from flask_forge_jobs.demo.shop import HOUR_US
from flask_forge_jobs.model.instants import SECOND_US

NOW_US = 1_796_000_000 * SECOND_US


def _flow(kind: str) -> Flow:
    return next(flow for flow in FLOWS if flow.kind == kind)


def test_the_past_has_as_many_jobs_as_the_orders_to_come() -> None:
    """Otherwise the charts have a step where the demo begins."""
    orders = range(2520)
    kinds = Counter(job.kind for order in orders for job in shop.jobs_of(order))

    for kind, count in kinds.items():
        per_minute = count / len(orders) * 60
        assert per_minute == pytest.approx(_flow(kind).per_minute, 0.01)


def test_it_is_busy_now_and_quiet_ten_hours_ago() -> None:
    assert daylight(NOW_US, NOW_US) == pytest.approx(1)
    assert daylight(NOW_US - 10 * HOUR_US, NOW_US) < 0.15


def test_the_sums_of_short_buckets_are_those_of_a_long_one() -> None:
    flow = _flow("send_receipt")
    begin_us = NOW_US - 30 * HOUR_US
    hour = sums_of(flow, 3600, begin_us, NOW_US)
    minutes = Sums()
    for minute in range(60):
        start_us = begin_us + minute * 60 * SECOND_US
        minutes.add(sums_of(flow, 60, start_us, NOW_US))

    assert minutes.enqueued == pytest.approx(hour.enqueued, rel=0.2)
    assert minutes.retried == pytest.approx(hour.retried, rel=0.6, abs=8)


def test_no_order_is_closed_while_nothing_writes_entries() -> None:
    start_us = NOW_US - PAUSED_FOR_US
    closed = sums_of(_flow("close_order"), 1800, start_us, NOW_US)
    written = sums_of(_flow("write_entry"), 1800, start_us, NOW_US)

    assert (closed.completed, closed.dead) == (0, closed.enqueued)
    assert (written.completed, written.dead) == (0, 0)
    before = sums_of(_flow("close_order"), 1800, start_us - 2 * HOUR_US, NOW_US)
    assert before.completed == before.enqueued > 0


@pytest.mark.parametrize("hour", [3, 9, 14, 21])
def test_the_bucket_of_a_day_so_far_has_the_jobs_of_its_hours(hour: int) -> None:
    """Pages read a day in its own bucket, and its failures by hour."""
    flow, day_us = _flow("send_receipt"), 24 * HOUR_US
    start_us = NOW_US // day_us * day_us
    now_us = start_us + hour * HOUR_US + HOUR_US // 2

    of_hours = sum(
        sums_of(flow, 3600, each_us, now_us).enqueued
        for each_us in range(start_us, now_us, HOUR_US)
    )
    of_day = sums_of(flow, 86_400, start_us, now_us).enqueued
    assert of_day == pytest.approx(of_hours, rel=0.12)
