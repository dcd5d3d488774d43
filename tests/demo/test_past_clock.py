"""In the past, work takes no time; later, it does."""

from __future__ import annotations

import time
from typing import Any

from flask_forge_jobs.demo.past_clock import PastClock, work


class _Context:
    def __init__(self, clock: object) -> None:
        self.clock = clock
        self.slept_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


def test_work_moves_the_clock_of_the_past() -> None:
    clock = PastClock(5_000_000)
    context: Any = _Context(clock)

    work(context, 2.5)

    assert (clock.now_us(), clock.monotonic(), clock.since_boot()) == (
        7_500_000, 7.5, 7.5,
    )  # fmt: skip
    assert context.slept_s == 0
    clock.set(1_000_000)
    assert clock.now_us() == 1_000_000


def test_work_sleeps_under_another_clock() -> None:
    context: Any = _Context(time)

    work(context, 2.5)

    assert context.slept_s == 2.5
