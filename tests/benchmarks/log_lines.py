"""``python -m tests.benchmarks.log_lines``: what it costs to keep log lines.

A worker with 8 slots drains jobs in turns with ``FORGE_JOBS_LOG_LINES`` off and on:
jobs that log nothing, and jobs that log ten lines each. Each drain has an empty
database and is the other one's neighbour in time, so only differences within a pair
count. It prints their medians, and asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import time
from dataclasses import dataclass
from statistics import median

import click

from tests.acceptance.driving import add_backend, chosen_backends
from tests.benchmarks.measure import Watch
from tests.benchmarks.ours import OurQueue
from tests.benchmarks.role import BULK
from tests.benchmarks.runner import empty_database
from tests.support.postgres import running_server

LINES = 10
LIMIT_S = 120.0
_OFF, _ON = "off", "INFO"
_LOGGER = logging.getLogger("shop.orders")


@dataclass(frozen=True, slots=True)
class Drain:
    """What a job took: of the drain, and of the CPU of the worker's process, in µs."""

    wall_us: float
    cpu_us: float


class LoggingQueue(OurQueue):
    """Ours, whose jobs log a number of lines, which are kept or not."""

    def __init__(
        self, backend: str, location: str, watch: Watch, *, lines: int, level: str
    ) -> None:
        super().__init__(
            backend, location, watch, settings={"FORGE_JOBS_LOG_LINES": level}
        )

        @self._forge.task
        def log_lines() -> None:
            for number in range(lines):
                _LOGGER.info("order %s has %s positions in step %d", "A-7", 3, number)

        self._task = log_lines

    def bulk(self, count: int) -> None:
        """Store jobs that log."""
        with self._app.app_context():
            for first in range(0, count, BULK):
                part = range(first, min(first + BULK, count))
                self._forge.enqueue_many(self._task.job() for _ in part)


def drain(
    backend: str, server_url: str | None, jobs: int, *, lines: int, level: str
) -> Drain:
    """Drain an empty database that is filled with jobs."""
    with empty_database(backend, server_url) as location:
        watch = Watch(jobs)
        queue = LoggingQueue(backend, location, watch, lines=lines, level=level)
        queue.prepare()
        queue.bulk(jobs)
        gc.collect()
        before_s = time.process_time()
        with queue.working():
            took_s = watch.drain_s(LIMIT_S)
            cpu_s = time.process_time() - before_s
    return Drain(took_s / jobs * 1e6, cpu_s / jobs * 1e6)


def pairs(
    backend: str, server_url: str | None, jobs: int, count: int, *, lines: int
) -> list[tuple[Drain, Drain]]:
    """Return drains with the setting off and on, every other pair in reverse."""
    found = []
    for number in range(count):
        order = (_OFF, _ON) if number % 2 == 0 else (_ON, _OFF)
        pair = {
            level: drain(backend, server_url, jobs, lines=lines, level=level)
            for level in order
        }
        found.append((pair[_OFF], pair[_ON]))
    return found


def report(backend: str, found: list[tuple[Drain, Drain]], lines: int) -> str:
    """Return the medians of pairs as text."""
    what = "nothing logged" if not lines else f"{lines} lines a job"
    shown = [f"{backend}, {what}, medians of {len(found)} pairs:"]
    for name in ("wall_us", "cpu_us"):
        values = [(getattr(off, name), getattr(on, name)) for off, on in found]
        off, on = (median(each) for each in zip(*values, strict=True))
        more = median(on - off for off, on in values)
        percent = median(100 * (on / off - 1) for off, on in values)
        cost = f"{more / lines:.1f} µs a line" if lines else f"{percent:+.1f} %"
        label = "drain" if name == "wall_us" else "worker's CPU"
        shown.append(f"  {label}: off {off:.1f}, on {on:.1f} µs a job: {cost}")
    return "\n".join(shown)


def main() -> None:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--jobs", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--pairs", type=int, default=5, help="default: 5")
    parser.add_argument("--lines", type=int, help=f"a job; default: 0, then {LINES}")
    options = parser.parse_args()
    # Each new database has jobs that no worker has ever served.
    logging.getLogger("flask_forge_jobs").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        for backend in chosen_backends(options.backend):
            url = None
            if backend == "postgres":
                url = stack.enter_context(running_server())
            for lines in (0, LINES) if options.lines is None else (options.lines,):
                drain(backend, url, options.jobs // 10, lines=lines, level=_ON)
                found = pairs(backend, url, options.jobs, options.pairs, lines=lines)
                click.echo(report(backend, found, lines))


if __name__ == "__main__":
    main()
