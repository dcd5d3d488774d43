"""Measures what counting for the charts costs a worker that drains a queue.

One worker drains one queue, and recording is switched off and on while it does: slices
of some thousand jobs with and without it take turns, so that whatever else happens on
the machine happens to both. A slice that is recorded ends with a write of its figures,
for which the dispatcher waits; outside of measurements another thread makes one every
two seconds, so what is measured is rather too much.

Run it with ``python -m tests.acceptance.recording --backend both``. The table has the
medians of the slices, what recording costs by them, by the best slices, and by the
middle half of the pairs; the exit status is 1 when it costs more than 5 %.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from flask_forge_jobs.runtime.prefetch import MAX_AHEAD
from tests.acceptance.driving import add_backend, add_best, measure_each
from tests.benchmarks.measure import Watch
from tests.benchmarks.ours import OurQueue, Recording
from tests.benchmarks.role import BULK
from tests.benchmarks.runner import empty_database
from tests.support.postgres import running_server

# At full speed about what comes between two writes.
JOBS = 20_000
PAIRS = 9
LARGEST_COST = 0.05
DRAIN_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Slice:
    """Some jobs of a drain.

    ``cpu_us`` is what this process took for each job, in microseconds.
    """

    is_recorded: bool
    jobs_per_s: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure with and without recording.

    Args:
        name: What it is.
        recorded: One value for each pair.
        unrecorded: One value for each pair.
        is_rate: Whether more is better.
    """

    name: str
    recorded: Sequence[float]
    unrecorded: Sequence[float]
    is_rate: bool

    @property
    def cost(self) -> float:
        """Which part of the figure without recording is lost, by the medians."""
        return self._cost(median(self.recorded), median(self.unrecorded))

    @property
    def best_cost(self) -> float:
        """The same by the best values: other work on the machine only adds."""
        best = max if self.is_rate else min
        return self._cost(best(self.recorded), best(self.unrecorded))

    @property
    def middle_half(self) -> tuple[float, float]:
        """Between which costs the middle half of the pairs lies."""
        pairs = zip(self.recorded, self.unrecorded, strict=True)
        first, _, last = quantiles([self._cost(*pair) for pair in pairs], n=4)
        return first, last

    def _cost(self, recorded: float, unrecorded: float) -> float:
        change = recorded / unrecorded - 1
        return -change if self.is_rate else change

    def is_met(self, *, by_best: bool = False) -> bool:
        """Whether recording is cheap enough."""
        return (self.best_cost if by_best else self.cost) <= LARGEST_COST

    def text(self, *, by_best: bool = False) -> str:
        """Return it as a line of the table."""
        least, most = self.middle_half
        return (
            f"{self.name:<16}{median(self.recorded):>12,.1f}"
            f"{median(self.unrecorded):>12,.1f}{self.cost:>+9.1%}{self.best_cost:>+9.1%}"
            f"{least:>+10.1%}{most:>+9.1%}  "
            f"{'met' if self.is_met(by_best=by_best) else 'MISSED'}"
        )


class SlicedWatch(Watch):
    """Cuts a drain into slices, and switches between them."""

    def __init__(self, expected: int, slice_jobs: int) -> None:
        super().__init__(expected)
        self.slices: list[Slice] = []
        self.switch: Callable[[bool], None] = lambda _: None
        """Is called between two slices, with whether the next one is recorded."""
        self._slice_jobs = slice_jobs
        self._count = 0
        self._is_recorded = True
        self._since = time.perf_counter(), time.process_time()

    def stored(self, count: int) -> None:
        """Note that so many more jobs are finished for good."""
        super().stored(count)
        self._count += count
        if self._count >= self._slice_jobs:
            self._end_slice()

    def _end_slice(self) -> None:
        number = len(self.slices) + 1
        # Recorded, not, not, recorded: a drain that becomes slower favours neither.
        is_next_recorded = number % 4 in (1, 0)
        self.switch(is_next_recorded)
        began_at, cpu_before_s = self._since
        took_s = time.perf_counter() - began_at
        cpu_s = time.process_time() - cpu_before_s
        self.slices.append(
            Slice(self._is_recorded, self._count / took_s, cpu_s / self._count * 1e6)
        )
        self._count, self._is_recorded = 0, is_next_recorded
        self._since = time.perf_counter(), time.process_time()


def drain(backend: str, location: str, slice_jobs: int, pairs: int) -> list[Slice]:
    """Drain an empty database that is filled first; return its slices.

    Args:
        backend: ``sqlite`` or ``postgres``.
        location: The SQLite file or the PostgreSQL URL.
        slice_jobs: Jobs of each slice.
        pairs: How many slices of each sort.
    """
    # The first slice warms up, and the last jobs are few at once. A slice ends with a
    # transaction, so it may be longer.
    jobs = (2 * pairs + 2) * (slice_jobs + MAX_AHEAD)
    watch = SlicedWatch(jobs, slice_jobs)
    queue = OurQueue(backend, location, watch)
    queue.prepare()
    for first in range(0, jobs, BULK):
        queue.fill(min(BULK, jobs - first))
    recording = Recording(queue)
    recording.write()
    recording.stop_thread()

    def switch(is_recorded: bool) -> None:
        recording.write()
        recording.turn(on=is_recorded)

    watch.switch = switch
    with queue.working():
        watch.drain_s(DRAIN_LIMIT_S)
    return watch.slices[1 : 2 * pairs + 1]


def compare(slices: Sequence[Slice]) -> list[Comparison]:
    """Return throughput and CPU with recording and without."""
    recorded = [each for each in slices if each.is_recorded]
    unrecorded = [each for each in slices if not each.is_recorded]
    return [
        Comparison(
            name,
            [read(each) for each in recorded],
            [read(each) for each in unrecorded],
            is_rate=is_rate,
        )
        for name, read, is_rate in _FIGURES
    ]


_FIGURES: tuple[tuple[str, Callable[[Slice], float], bool], ...] = (
    ("jobs/s", lambda each: each.jobs_per_s, True),
    ("CPU, µs a job", lambda each: each.cpu_us, False),
)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--jobs", type=int, default=JOBS, help="of each slice")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    add_best(parser)
    arguments = parser.parse_args()
    by_best = arguments.best

    def run(backend: str) -> tuple[str, bool]:
        with contextlib.ExitStack() as stack:
            server_url = None
            if backend == "postgres":
                server_url = stack.enter_context(running_server())
            location = stack.enter_context(empty_database(backend, server_url))
            found = compare(drain(backend, location, arguments.jobs, arguments.pairs))
        load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        words = ("recorded", "not", "cost", "of best", "of pairs")
        head = "{:<16}{:>12}{:>12}{:>9}{:>9}{:>19}".format("", *words)
        lines = [
            f"{backend}: {arguments.pairs} pairs of {arguments.jobs:,} jobs, {load}",
            head,
            *[each.text(by_best=by_best) for each in found],
        ]
        return "\n".join(lines), all(each.is_met(by_best=by_best) for each in found)

    return measure_each(arguments.backend, run)


if __name__ == "__main__":
    sys.exit(main())
