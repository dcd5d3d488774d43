"""Measures how long charts take with a month of figures and a million jobs stored.

Run it with ``python -m tests.acceptance.charts --backend both --rows 1000000``. It
prints a table of the best and the median of each chart, with verdicts; the exit status
is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from urllib.parse import urlencode

from flask_forge_jobs import Storage
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import (
    DAY_US,
    SECOND_US,
    format_instant,
    from_micros,
)
from flask_forge_jobs.model.metrics import LEVELS, MetricKey, Tally, floor_to
from flask_forge_jobs.storage.metrics import MERGED, PUT_ROWS
from tests.acceptance.driving import add_backend, add_best, measure_each
from tests.acceptance.filling import KINDS, QUEUES
from tests.acceptance.million import REPEATS, Subject, filled, samples_ms

WEEK_LIMIT_MS = 30.0
# The others are measured without a limit.
LIMITED = ("timeline", "series")
# Steps in seconds, from the least that the API allows for a week to the whole week: two
# thousand buckets of one stored row each, a thousand of two, and so on.
WEEK_STEPS_S = (
    *(303, 360, 450, 600, 900, 1200, 1799),
    *(1800, 2700, 3600, 7200, 14_400, 43_200, 86_400, 604_800),
)
# What a million jobs in a month make in five minutes. A coarser bucket has more of
# them, up to some hundred, which fill all the histogram that they ever will.
RUNS_IN_300_S = 115
MAX_RUNS = 700
# Enough different histograms that no two buckets beside each other are alike.
PATTERNS = 50
DAYS = 30


def fill_figures(storage: Storage, now_us: int, days: int = DAYS) -> int:
    """Store figures of ten queues and twenty kinds; return how many rows that makes.

    The steps of a minute and less are filled for all jobs together only.
    """
    source, numbers = random.Random(7), itertools.count(1)
    count = 0
    for level in LEVELS:
        runs = min(max(RUNS_IN_300_S * level // 300, 1), MAX_RUNS)
        patterns = [_pattern(source, runs) for _ in range(PATTERNS)]
        span_us = DAY_US if level == LEVELS[0] else days * DAY_US
        for queue_name, kind in _names(everything=level > LEVELS[1]):
            rows = {
                MetricKey(level, bucket_us, queue_name, kind): source.choice(patterns)
                for bucket_us in range(
                    floor_to(now_us - span_us, level), now_us, level * SECOND_US
                )
            }
            keys = list(rows)
            for start in range(0, len(keys), PUT_ROWS):
                part = {key: rows[key] for key in keys[start : start + PUT_ROWS]}
                storage.metrics.add(MERGED, next(numbers), part, {})
            count += len(rows)
    return count


def _names(*, everything: bool) -> Iterator[tuple[str, str]]:
    yield "", ""
    if everything:
        yield from ((f"queue-{number}", "") for number in range(QUEUES))
        yield from ((f"queue-{n % QUEUES}", f"kind-{n}") for n in range(KINDS))


def _pattern(source: random.Random, runs: int) -> Tally:
    tally = Tally(runs, runs, 2, runs, 1)
    for _ in range(runs):
        run_us = int(source.lognormvariate(10, 1))
        tally.wait.record_many([run_us // 2])
        tally.run.record_many([run_us])
        tally.total.record_many([2 * run_us])
    # A histogram that was read is written as it is, thousands of times in no time.
    read = replace(tally, wait=Histogram(), run=Histogram(), total=Histogram())
    read.wait.merge_text(tally.wait.encode())
    read.run.merge_text(tally.run.encode())
    read.total.merge_text(tally.total.encode())
    return read


def paths(now_us: int) -> dict[str, str]:
    """Return every chart that is measured, by name."""

    def window(bucket_secs: int | None, **more: object) -> str:
        query = {
            "from": format_instant(from_micros(now_us) - timedelta(days=7)),
            "to": format_instant(from_micros(now_us)),
            **({"bucket_secs": bucket_secs} if bucket_secs else {}),
            **more,
        }
        return urlencode(query)

    timelines = {
        f"timeline, week by {step_s:,} s": f"/queue/timeline?{window(step_s)}"
        for step_s in WEEK_STEPS_S
    }
    return timelines | {
        "timeline of a queue, week by 303 s": (
            f"/queue/timeline?{window(303, queue='queue-3')}"
        ),
        "timeline of a kind, week by 303 s": (
            f"/queue/timeline?{window(303, kind='kind-3')}"
        ),
        "series of a queue, week by 303 s": (
            f"/queue/metric-series?{window(303, queue='queue-3')}"
        ),
        "kinds of a week": f"/v1/kinds?{window(None)}",
        "metrics": "/metrics",
    }


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a chart took."""

    name: str
    best_ms: float
    median_ms: float

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.name.startswith(LIMITED)

    def text(self, *, is_met: bool) -> str:
        """Return it as a line of the table."""
        line = f"{self.name:<36}{self.best_ms:>10.2f}{self.median_ms:>10.2f}"
        if not self.is_limited:
            return line
        return f"{line}{WEEK_LIMIT_MS:>8.1f}  {'met' if is_met else 'MISSED'}"


def measure(subject: Subject, now_us: int, repeats: int) -> list[Timing]:
    """Return how long each chart takes."""
    samples = {
        name: samples_ms(subject.getter(path), repeats)
        for name, path in paths(now_us).items()
    }
    return [Timing(name, min(ms), median(ms)) for name, ms in samples.items()]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    add_best(parser)
    arguments = parser.parse_args()

    def run(backend: str) -> tuple[str, bool]:
        are_met = True
        with filled(backend, arguments.rows) as subject:
            now_us = subject.sql.now_us()
            rows = fill_figures(subject.storage, now_us)
            timings = measure(subject, now_us, arguments.repeats)
        load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        lines = [
            f"{backend}: ms, {arguments.rows:,} jobs, {rows:,} figures, {load}",
            f"{'':<36}{'best':>10}{'median':>10}{'limit':>8}",
        ]
        for each in timings:
            judged_ms = each.best_ms if arguments.best else each.median_ms
            is_met = judged_ms <= WEEK_LIMIT_MS
            are_met = are_met and (is_met or not each.is_limited)
            lines.append(each.text(is_met=is_met))
        return "\n".join(lines), are_met

    return measure_each(arguments.backend, run)


if __name__ == "__main__":
    sys.exit(main())
