from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.model.instants import from_micros


def test_system_clock_tells_the_time_of_this_host() -> None:
    told = from_micros(SystemClock().now_us())

    assert abs(told - datetime.fromtimestamp(time.time_ns() / 1e9, UTC)) < timedelta(
        seconds=60
    )


def test_monotonic_never_steps_back() -> None:
    clock: Clock = SystemClock()
    readings = [clock.monotonic() for _ in range(1000)]

    assert readings == sorted(readings)


@pytest.mark.skipif(
    not hasattr(time, "CLOCK_BOOTTIME"), reason="the system has no such clock"
)
def test_the_time_since_the_boot_counts_a_sleep_of_the_host() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    told = SystemClock().since_boot()

    assert before <= told <= time.clock_gettime(time.CLOCK_BOOTTIME)
