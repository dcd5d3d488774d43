"""``python -m tests.benchmarks.log_lines``: what log lines cost.

A worker with 8 slots drains jobs in turns with lines off and on: with its own line of
each job, written to a file; and with ``FORGE_JOBS_LOG_LINES``, jobs that log nothing
and jobs that log ten lines each. Each drain has an empty database and is the other
one's neighbour in time, so only differences within a pair count. It prints their
medians, and asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import click

from flask_forge_jobs.runtime.run.job_log import JOB_LOGGER, LineFormatter, LineHandler
from flask_forge_jobs.server import LOG_FORMAT
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


@dataclass(frozen=True, slots=True)
class Case:
    """The log lines of a drain."""

    name: str
    lines: int = 0
    level: str = _OFF
    has_own: bool = False


Pair = tuple[Case, Case]
PAIRS: dict[str, Pair] = {
    "own": (Case("off"), Case("the worker's own line of each job", has_own=True)),
    "none": (Case("off"), Case("jobs that log nothing", level=_ON)),
    "ten": (
        Case("off", lines=LINES),
        Case(f"jobs that log {LINES} lines", lines=LINES, level=_ON),
    ),
}


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


@contextlib.contextmanager
def own_lines(*, on: bool) -> Iterator[None]:
    """Write a line of each job as ``flask forge-jobs worker`` does, or none."""
    log = logging.getLogger(JOB_LOGGER)
    with tempfile.TemporaryFile("w") as file:
        handler = LineHandler(LineFormatter(LOG_FORMAT))
        handler.setStream(file)
        log.addHandler(handler)
        log.propagate = False
        log.setLevel(logging.INFO if on else logging.ERROR)
        try:
            yield
        finally:
            log.removeHandler(handler)


def drain(backend: str, server_url: str | None, jobs: int, case: Case) -> Drain:
    """Drain an empty database that is filled with jobs."""
    with empty_database(backend, server_url) as location, own_lines(on=case.has_own):
        watch = Watch(jobs)
        queue = LoggingQueue(
            backend, location, watch, lines=case.lines, level=case.level
        )
        queue.prepare()
        queue.bulk(jobs)
        gc.collect()
        before_s = time.process_time()
        with queue.working():
            took_s = watch.drain_s(LIMIT_S)
            cpu_s = time.process_time() - before_s
    return Drain(took_s / jobs * 1e6, cpu_s / jobs * 1e6)


def pairs(
    backend: str, server_url: str | None, jobs: int, count: int, cases: Pair
) -> list[tuple[Drain, Drain]]:
    """Return drains of both cases, every other pair in reverse."""
    found = []
    for number in range(count):
        first, second = cases if number % 2 == 0 else reversed(cases)
        ends = [drain(backend, server_url, jobs, each) for each in (first, second)]
        off, on = ends if number % 2 == 0 else reversed(ends)
        found.append((off, on))
    return found


def report(backend: str, found: list[tuple[Drain, Drain]], case: Case) -> str:
    """Return the medians of pairs as text."""
    shown = [f"{backend}, {case.name}, medians of {len(found)} pairs:"]
    for name in ("wall_us", "cpu_us"):
        values = [(getattr(off, name), getattr(on, name)) for off, on in found]
        off, on = (median(each) for each in zip(*values, strict=True))
        more = median(on - off for off, on in values)
        percent = median(100 * (on / off - 1) for off, on in values)
        count = case.lines or int(case.has_own)
        cost = f"{percent:+.1f} %"
        if count:
            cost += f", {more / count:.1f} µs a line"
        label = "drain" if name == "wall_us" else "worker's CPU"
        shown.append(f"  {label}: off {off:.1f}, on {on:.1f} µs a job: {cost}")
    return "\n".join(shown)


def main() -> None:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--jobs", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--pairs", type=int, default=5, help="default: 5")
    parser.add_argument("--only", choices=PAIRS, help="default: all, in turn")
    options = parser.parse_args()
    # Each new database has jobs that no worker has ever served.
    logging.getLogger("flask_forge_jobs").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        for backend in chosen_backends(options.backend):
            url = None
            if backend == "postgres":
                url = stack.enter_context(running_server())
            for name, cases in PAIRS.items():
                if options.only in (None, name):
                    drain(backend, url, options.jobs // 10, cases[1])
                    found = pairs(backend, url, options.jobs, options.pairs, cases)
                    click.echo(report(backend, found, cases[1]))


if __name__ == "__main__":
    main()
