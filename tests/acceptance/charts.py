"""Measures how long charts take with a month of figures and a million jobs stored.

Run it with ``python -m tests.acceptance.charts --backend both --rows 1000000``. It
prints a table of medians and verdicts; the exit status is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlencode

from flask_forge_jobs import Storage
from flask_forge_jobs.model.instants import (
    DAY_US,
    SECOND_US,
    format_instant,
    from_micros,
)
from flask_forge_jobs.model.metrics import LEVELS, MetricKey, Tally, floor_to
from tests.acceptance.databases import chosen_backends
from tests.acceptance.filling import KINDS, QUEUES
from tests.acceptance.million import Subject, filled, time_ms

WEEK_LIMIT_MS = 30.0
# The others are measured without a limit.
LIMITED = ("timeline", "series")
RUNS_A_BUCKET = 40
# Enough different histograms that no two buckets beside each other are alike.
PATTERNS = 50
DAYS = 30


def fill_figures(storage: Storage, now_us: int, days: int = DAYS) -> int:
    """Store figures of ten queues and twenty kinds; return how many rows that makes.

    The steps of a minute and less are filled for all jobs together only.
    """
    source = random.Random(7)
    patterns = [_pattern(source) for _ in range(PATTERNS)]
    count = 0
    for level in LEVELS:
        span_us = DAY_US if level == LEVELS[0] else days * DAY_US
        for queue_name, kind in _names(everything=level > LEVELS[1]):
            rows = {
                MetricKey(level, bucket_us, queue_name, kind): source.choice(patterns)
                for bucket_us in range(
                    floor_to(now_us - span_us, level), now_us, level * SECOND_US
                )
            }
            storage.metrics.put("", rows)
            count += len(rows)
    return count


def _names(*, everything: bool) -> Iterator[tuple[str, str]]:
    yield "", ""
    if everything:
        yield from ((f"queue-{number}", "") for number in range(QUEUES))
        yield from ((f"queue-{n % QUEUES}", f"kind-{n}") for n in range(KINDS))


def _pattern(source: random.Random) -> Tally:
    tally = Tally(RUNS_A_BUCKET, RUNS_A_BUCKET, 2, RUNS_A_BUCKET, 1)
    for _ in range(RUNS_A_BUCKET):
        run_us = int(source.lognormvariate(10, 1))
        tally.wait.record(run_us // 2)
        tally.run.record(run_us)
        tally.total.record(2 * run_us)
    return tally


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

    return {
        "timeline, week by 2 h": f"/queue/timeline?{window(7200)}",
        "timeline, week by 30 min": f"/queue/timeline?{window(1800)}",
        "timeline, week by 1 h": f"/queue/timeline?{window(3600)}",
        "series of a queue, week by 2 h": (
            f"/queue/metric-series?{window(7200, queue='queue-3')}"
        ),
        "kinds of a week": f"/v1/kinds?{window(None)}",
        "metrics": "/metrics",
    }


def measure(subject: Subject, now_us: int) -> dict[str, float]:
    """Return the median of each chart, in milliseconds."""
    return {name: time_ms(subject.getter(path)) for name, path in paths(now_us).items()}


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--backend", choices=("sqlite", "postgres", "both"), required=True
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    are_met = True
    for backend in chosen_backends(arguments.backend):
        with filled(backend, arguments.rows) as subject:
            now_us = subject.sql.now_us()
            rows = fill_figures(subject.storage, now_us)
            found = measure(subject, now_us)
        lines = [f"{backend}: medians in ms, {arguments.rows:,} jobs, {rows:,} figures"]
        for name, value in found.items():
            verdict = ""
            if name.startswith(LIMITED):
                is_met = value <= WEEK_LIMIT_MS
                are_met = are_met and is_met
                word = "met" if is_met else "MISSED"
                verdict = f"{WEEK_LIMIT_MS:>8.1f}  {word}"
            lines.append(f"{name:<34}{value:>10.2f}{verdict}")
        sys.stdout.write("\n".join(lines) + "\n\n")
        sys.stdout.flush()
    return 0 if are_met else 1


if __name__ == "__main__":
    sys.exit(main())
