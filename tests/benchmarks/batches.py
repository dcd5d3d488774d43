"""``python -m tests.benchmarks.batches``: what a batch and ``after=`` cost.

Each round stores and drains, in turns: plain jobs; as many as the jobs of a batch with
a job at its end; and pairs, of which one job waits for the other. One thread drains 64
jobs at a time, and runs no task. "order" are plain jobs that are claimed as pairs are,
the second ones after all first ones: the database then writes to more pages. Only
neighbours in time are compared: the ratios are medians of those within a round, by the
clock, and by the CPU time of this process and of the PostgreSQL server, which other
work on the machine changes less. It asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click
import psutil
import psycopg2

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.batches import BatchEvent, NewBatch
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.runtime.loop.batch_folds import PERIOD_S
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.jobs.enqueue import NO_FRAME
from tests.acceptance.driving import add_backend, chosen_backends
from tests.benchmarks.runner import empty_database
from tests.support.postgres import running_server

CLAIMED_AT_ONCE = 64
ENDED = FollowUp("report", "ended", "mail", 0, 5)
Cpu = Callable[[], float]


class Cost(NamedTuple):
    """What a job took, in µs."""

    wall: float
    cpu: float

    def __add__(self, other: object) -> Cost:
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


class Spent(NamedTuple):
    """What storing and draining jobs cost."""

    enqueue: Cost
    drain: Cost

    @property
    def both(self) -> Cost:
        """The cost of a job from its enqueue to its end."""
        return self.enqueue + self.drain


def plain(storage: Storage, count: int) -> None:
    """Store jobs that have nothing to do with one another."""
    storage.jobs.enqueue_many([NewJob("noop") for _ in range(count)])


def batch(storage: Storage, count: int) -> None:
    """Store as many jobs as a batch with a job at its end."""
    new = NewBatch("report", follow_ups={BatchEvent.SUCCESS: ENDED})
    storage.batches.create(new, [NewJob("noop") for _ in range(count)])


def pairs(storage: Storage, count: int) -> None:
    """Store as many jobs, of which each other one waits for the one before."""
    ids = storage.mint(count)
    jobs = [NewJob("noop", after=ids[n - 1 : n] if n % 2 else ()) for n in range(count)]
    storage.jobs.enqueuer.enqueue_framed(jobs, ids, None, NO_FRAME)


def order(storage: Storage, count: int) -> None:
    """Store plain jobs that are claimed in the order of pairs."""
    storage.jobs.enqueue_many([NewJob("noop", priority=n % 2) for n in range(count)])


SHAPES = {"plain": plain, "batch": batch, "order": order, "pairs": pairs}


def drain(storage: Storage) -> int:
    """Claim and end all jobs; return how many."""
    held: list[ClaimedJob] = []
    noted: set[str] = set()
    count, next_at = 0, 0.0
    while True:
        ends = [JobUpdate(job, JobStatus.DONE) for job in held]
        found = storage.jobs.exchange("w", ends, {"default": CLAIMED_AT_ONCE})
        held = found.claimed
        count += len(held)
        noted |= found.noted
        if noted and (time.monotonic() >= next_at or not held):
            noted = storage.batches.fold(noted)
            next_at = time.monotonic() + PERIOD_S
        if not held:
            return count


def timed(call: Callable[[], object], count: int, cpu: Cpu) -> Cost:
    """Return what a call took for each of so many jobs."""
    gc.collect()
    wall_s, cpu_s = time.perf_counter(), cpu()
    call()
    spent = time.perf_counter() - wall_s, cpu() - cpu_s
    return Cost(*(each / count * 1e6 for each in spent))


def measure(
    storage: Storage, count: int, rounds: int, cpu: Cpu
) -> dict[str, list[Spent]]:
    """Store and drain each shape of jobs in turns; every other round in reverse."""
    found: dict[str, list[Spent]] = defaultdict(list)
    for number in range(rounds):
        for name in list(SHAPES)[:: -1 if number % 2 else 1]:
            shape = SHAPES[name]
            enqueued = timed(partial(shape, storage, count), count, cpu)
            found[name].append(
                Spent(enqueued, timed(partial(drain, storage), count, cpu))
            )
    return found


def server_cpu(url: str | None) -> Cpu:
    """Return a clock of the CPU time of this process and of a server's."""
    if url is None:
        return time.process_time
    with contextlib.closing(psycopg2.connect(url)) as connection:
        leader = psutil.Process(connection.info.backend_pid).parent()
    if leader is None:
        raise ValueError("the server does not run on this machine")

    def read() -> float:
        spent = time.process_time()
        for each in (leader, *leader.children()):
            with contextlib.suppress(psutil.NoSuchProcess):
                spent += sum(each.cpu_times()[:2])
        return spent + sum(leader.cpu_times()[2:4])

    return read


@contextlib.contextmanager
def storage_at(backend: str, location: str) -> Iterator[Storage]:
    """Open a new database."""
    settings = (
        DatabaseSettings(path=Path(location))
        if backend == "sqlite"
        else DatabaseSettings.from_url(location)
    )
    with contextlib.closing(open_storage(settings)) as storage:
        yield storage


def report(backend: str, found: dict[str, list[Spent]], count: int) -> str:
    """Return costs and their ratios to those of plain jobs as text."""
    base = found["plain"]
    shown = [f"{backend}, {count} jobs, medians of {len(base)} rounds, a job:"]
    for name, spent in found.items():
        for part in ("enqueue", "drain", "both"):
            costs = [getattr(each, part) for each in spent]
            usual = [getattr(each, part) for each in base]
            wall, cpu = (median(each) for each in zip(*costs, strict=True))
            line = f"  {name} {part:7} {wall:6.1f} µs, CPU {cpu:6.1f} µs"
            if name != "plain":
                ratios = [
                    (mine.wall / its.wall, mine.cpu / its.cpu)
                    for mine, its in zip(costs, usual, strict=True)
                ]
                by_wall, by_cpu = (median(each) for each in zip(*ratios, strict=True))
                line += f"; {by_wall:.2f} of plain jobs, CPU {by_cpu:.2f}"
            shown.append(line)
    return "\n".join(shown)


def main() -> None:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--jobs", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--rounds", type=int, default=6, help="default: 6")
    options = parser.parse_args()
    for backend in chosen_backends(options.backend):
        with contextlib.ExitStack() as stack:
            url = None
            if backend == "postgres":
                url = stack.enter_context(running_server())
            location = stack.enter_context(empty_database(backend, url))
            storage = stack.enter_context(storage_at(backend, location))
            cpu = server_cpu(url)
            measure(storage, options.jobs // 10, 1, cpu)
            found = measure(storage, options.jobs, options.rounds, cpu)
            click.echo(report(backend, found, options.jobs))


if __name__ == "__main__":
    main()
