"""``python -m tests.benchmarks.scale``: what one server carries, and 10 and 100 do.

It measures what enqueues and runs cost on a PostgreSQL server of its own: processor
time of both sides, bytes of the log, flushes. From five of these points it fits the
costs of the simulation in ``scale_model``. The simulation then has to come to the other
points, which it has not seen; only then it answers for larger loads. It asserts
nothing. Beside other work on the machine give it the priority of ``chrt -f 10``.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

import click
import psycopg2

from flask_forge_jobs.config.database import DatabaseSettings
from tests.benchmarks.measure import Watch
from tests.benchmarks.ours import OurQueue
from tests.benchmarks.scale_model import Costs, Load, Outcome, simulate
from tests.benchmarks.sustained import _server_cpu_s
from tests.support.postgres import fresh_database, running_server
from tests.support.sql import Sql
from tests.support.waiting import wait_until

SMALL, LARGE = 10, 500
DRAINED, ROUNDS = 20_000, 6
STEADY = 2_000
STEADY_S = 5
# Of what a server could take, for bursts and for the vacuum.
SHARE = 0.6
# Connections of a worker (heartbeat, dispatcher, listener, upkeep) and of a producer.
OF_WORKER, OF_PRODUCER = 4, 2
_MICRO, _MIB = 1e6, 1024**2


@dataclass(frozen=True)
class Point:
    """What was measured of some calls: seconds, and bytes of the log."""

    jobs: int
    calls: int
    wall: float
    server: float
    python: float
    log: float

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.wall


class Bench:
    """Measures on one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.queue = OurQueue("postgres", url, Watch(1))
        self.queue.prepare()
        self._sql = Sql(DatabaseSettings.from_url(url))

    def point(self, jobs: int, calls: int, work: Callable[[], None]) -> Point:
        """Measure some work."""
        log, server = self._log(), _server_cpu_s(self.url)
        python, wall = time.process_time(), time.perf_counter()
        work()
        wall = time.perf_counter() - wall
        python = time.process_time() - python
        return Point(
            jobs, calls, wall, _server_cpu_s(self.url) - server, python,
            self._log() - log,
        )  # fmt: skip

    def _log(self) -> float:
        value = self._sql.value(
            "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8"
        )
        return float(value)

    def clear(self) -> None:
        """Leave an empty table, as after a vacuum."""
        self._sql.run("TRUNCATE forge_job, forge_job_count")
        self._sql.run("VACUUM ANALYZE")
        self._sql.run("CHECKPOINT")

    def bulk(self, size: int, calls: int) -> Point:
        """Store jobs by some calls."""
        self.clear()
        self.queue.bulk(size)
        return self.point(size * calls, calls, partial(self._store, size, calls))

    def _store(self, size: int, calls: int) -> None:
        for _ in range(calls):
            self.queue.bulk(size)

    def single(self, threads: int, each: int) -> Point:
        """Enqueue from some threads, one commit each."""
        self.clear()

        def work() -> None:
            producers = [
                threading.Thread(target=self.queue.enqueue, args=(each,))
                for _ in range(threads)
            ]
            for producer in producers:
                producer.start()
            for producer in producers:
                producer.join()

        self.queue.enqueue(50)
        return self.point(threads * each, threads * each, work)

    def drain(self, jobs: int) -> Point:
        """Run stored jobs."""
        self.clear()
        self._store(LARGE, jobs // LARGE)
        return self._ran(jobs, lambda: None)

    def dead_s(self) -> float:
        """Return what a job costs more for each one claimed since the last vacuum."""
        self.clear()
        self._sql.run("ALTER TABLE forge_job SET (autovacuum_enabled = false)")
        costs: list[float] = []
        for _ in range(ROUNDS):
            self._store(LARGE, DRAINED // LARGE)
            point = self._ran(DRAINED, lambda: None, before=DRAINED * len(costs))
            costs.append(point.server / DRAINED)
        self._sql.run("ALTER TABLE forge_job RESET (autovacuum_enabled)")
        half = ROUNDS // 2
        growth = sum(costs[-half:]) - sum(costs[:half])
        return max(growth / half / (DRAINED * (ROUNDS - half)), 0.0)

    def steady(self, rate: int, seconds: float, batch: int) -> Point:
        """Store jobs at a pace, and run them meanwhile."""
        self.clear()
        calls = int(rate * seconds / batch)

        def produce() -> None:
            begun = time.perf_counter()
            for number in range(calls):
                due = begun + number * batch / rate
                time.sleep(max(due - time.perf_counter(), 0))
                self.queue.bulk(batch)

        return self._ran(calls * batch, produce)

    def _ran(self, jobs: int, produce: Callable[[], None], before: int = 0) -> Point:
        def work() -> None:
            produce()
            all_jobs = before + jobs
            wait_until(lambda: self._done() >= all_jobs, "all are done", period_s=0.01)

        def run() -> None:
            with self.queue.working():
                work()

        return self.point(jobs, jobs, run)

    def _done(self) -> int:
        found = self._sql.value(
            "SELECT COALESCE(SUM(jobs), 0) FROM forge_job_count WHERE status = 'done'"
        )
        return int(found)

    def flush_s(self, commits: int = 300) -> float:
        """Return the wait of an empty commit for the disk."""
        statement = "SELECT pg_logical_emit_message(true, 'forge_jobs', '')"
        with contextlib.closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            waits = []
            for flush in ("on", "off"):
                cursor.execute(f"SET synchronous_commit = {flush}")
                times = []
                for _ in range(commits):
                    began = time.perf_counter()
                    cursor.execute(statement)
                    times.append(time.perf_counter() - began)
                waits.append(sorted(times)[commits // 2])
        return max(waits[0] - waits[1], 1e-5)

    def row_bytes(self) -> tuple[float, float]:
        """Return what a done job takes: table, and indexes."""
        rows = int(self._sql.value("SELECT count(*) FROM forge_job"))
        table = float(self._sql.value("SELECT pg_table_size('forge_job')"))
        indexes = float(self._sql.value("SELECT pg_indexes_size('forge_job')"))
        return table / rows, indexes / rows


def fit(bench: Bench) -> tuple[Costs, dict[str, Point]]:
    """Measure five points, and return the costs that they mean."""
    points = {
        "small": bench.bulk(SMALL, 200),
        "large": bench.bulk(LARGE, 30),
        "one": bench.single(1, 1_000),
        "drain": bench.drain(DRAINED),
        "slow": bench.steady(100, 4, 1),
    }
    one, small, large = points["one"], points["small"], points["large"]
    server = _line(SMALL, small.server / small.calls, LARGE, large.server / large.calls)
    client = _line(SMALL, small.python / small.calls, LARGE, large.python / large.calls)
    log = _line(SMALL, small.log / small.calls, LARGE, large.log / large.calls)
    drain, slow = points["drain"], points["slow"]
    # A slow job is one call, and exchanges of one claim and of one end.
    enqueue_one = one.server / one.calls
    exchanges = 2 * slow.jobs
    slow_server = (slow.server - slow.calls * enqueue_one) / exchanges
    slow_python = (slow.python - slow.calls * one.python / one.calls) / exchanges
    server_job = drain.server / drain.jobs
    python_job = drain.python / drain.jobs
    costs = Costs(
        enqueue_server_call=server[0], enqueue_server_job=server[1],
        enqueue_client_call=client[0], enqueue_client_job=client[1],
        exchange_server_call=max(slow_server - server_job / 2, 0),
        exchange_server_job=server_job,
        worker_call=max(slow_python - python_job / 2, 0), worker_job=python_job,
        flush=bench.flush_s(), log_call=log[0], log_job=log[1],
        log_run=drain.log / drain.jobs,
    )  # fmt: skip
    return costs, points


def _line(x: float, y: float, x2: float, y2: float) -> tuple[float, float]:
    """Return the fixed and the growing part of a line through two points."""
    slope = (y2 - y) / (x2 - x)
    return max(y - slope * x, 0.0), slope


def of_one(costs: Costs, one: Point) -> Costs:
    """Return the costs of single enqueues, whose statement is another one."""
    return replace(
        costs,
        enqueue_server_call=one.server / one.calls,
        enqueue_server_job=0.0,
        enqueue_client_call=one.python / one.calls,
        enqueue_client_job=0.0,
        log_call=one.log / one.calls,
        log_job=0.0,
    )


# -- comparison ------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """A figure that was measured, and what the simulation says."""

    name: str
    unit: str
    measured: float
    simulated: float
    is_fitted: bool

    def line(self) -> str:
        """Return a line of the report."""
        error = self.simulated / self.measured - 1 if self.measured else math.nan
        return (
            f"{self.name:<44} {self.measured:>10,.2f} {self.simulated:>10,.2f} "
            f"{error:>+7.0%}  {self.unit}{', fitted' if self.is_fitted else ''}"
        )


def checks(bench: Bench, costs: Costs, points: dict[str, Point]) -> Iterator[Check]:
    """Yield the points; those that were not fitted are measured now."""
    here = Load(is_one_process=True, is_one_host=True)
    single = of_one(costs, points["one"])
    out = simulate(single, here)
    one = points["one"]
    yield Check("enqueue, a thread", "jobs/s", one.rate, out.enqueued, False)
    many = bench.single(8, 300)
    out = simulate(single, replace(here, producers=8))
    yield Check("enqueue, eight threads", "jobs/s", many.rate, out.enqueued, False)
    middle = bench.bulk(100, 60)
    out = simulate(costs, replace(here, batch=100))
    yield Check("bulk of 100", "jobs/s", middle.rate, out.enqueued, False)
    yield Check(
        "bulk of 100, log", "bytes/job", middle.log / middle.jobs,
        out.log_bytes / out.enqueued, False,
    )  # fmt: skip
    drain = points["drain"]
    out = simulate(
        costs, replace(here, producers=0, workers=1, stored=10**6, seconds=2.0)
    )
    yield Check("drain", "jobs/s", drain.rate, out.done, False)
    yield from _steady_checks(bench, costs, here)


def _steady_checks(bench: Bench, costs: Costs, here: Load) -> Iterator[Check]:
    for batch in (20, 100):
        measured = bench.steady(STEADY, STEADY_S, batch)
        out = simulate(costs, replace(here, rate=STEADY, batch=batch, workers=1))
        name = f"{STEADY:,} jobs/s by {batch}"
        yield from _sides(name, measured, out)


def _sides(name: str, measured: Point, out: Outcome) -> Iterator[Check]:
    # Per job: the measured time has a rest after the last call.
    jobs, done = measured.jobs, max(out.done, 1)
    yield Check(
        f"{name}: server", "µs/job", measured.server / jobs * _MICRO,
        out.server_cores / done * _MICRO, False,
    )  # fmt: skip
    yield Check(
        f"{name}: Python", "µs/job", measured.python / jobs * _MICRO,
        out.python_cores / done * _MICRO, False,
    )  # fmt: skip
    yield Check(
        f"{name}: log", "bytes/job", measured.log / jobs, out.log_bytes / done, False
    )


# -- larger loads ----------------------------------------------------------------------


@dataclass(frozen=True)
class Need:
    """What a load needs."""

    jobs: float
    databases: int
    workers: int
    producers: int
    connections: int
    log_mib_s: float
    flushes: float
    outcome: Outcome

    def line(self) -> str:
        """Return a line of the report."""
        out = self.outcome
        return (
            f"{self.jobs:>10,.0f} {self.databases:>9} {self.workers:>8} "
            f"{self.producers:>9} {self.connections:>11} {self.log_mib_s:>10.1f} "
            f"{self.flushes:>9.0f} {out.server_cores:>7.2f} "
            f"{out.pickup_ms(50):>7.1f} {out.pickup_ms(99):>7.1f}"
        )


NEED_HEAD = (
    f"{'jobs/s':>10} {'databases':>9} {'workers':>8} {'producers':>9} "
    f"{'connections':>11} {'log MiB/s':>10} {'flushes/s':>9} {'cores':>7} "
    f"{'p50 ms':>7} {'p99 ms':>7}"
)


def capacity(costs: Costs, cores: int, batch: int, grows: float) -> float:
    """Return the jobs a second that a server takes for good, enqueue and run.

    ``grows`` are the seconds that each costs more for one more a second, since claims
    pass what was claimed since the last vacuum.
    """
    job = costs.enqueue_server_job + costs.enqueue_server_call / batch
    job += costs.exchange_server_job
    if grows == 0:
        return SHARE * cores / job
    return (math.sqrt(job**2 + 4 * grows * SHARE * cores) - job) / (2 * grows)


def need(costs: Costs, jobs: float, base: float, cores: int, batch: int) -> Need:
    """Return what a load needs, and what the simulation says of one of its databases.

    Each worker and producer has a processor of its own, and the queues are divided
    evenly: databases know nothing of one another. ``base`` is what one carries.
    """
    databases = math.ceil(jobs / base - 1e-9)
    share = jobs / databases
    workers = math.ceil(share * costs.worker_job / SHARE)
    client = costs.enqueue_client_job + costs.enqueue_client_call / batch
    producers = math.ceil(share * client / SHARE)
    out = simulate(costs, Load(cores, producers, batch, share, workers, seconds=2.0))
    return Need(
        jobs, databases, databases * workers, databases * producers,
        databases * (workers * OF_WORKER + producers * OF_PRODUCER),
        databases * out.log_bytes / _MIB, databases * out.flushes, out,
    )  # fmt: skip


def report(bench: Bench, cores: int, batch: int, nap_s: float) -> None:
    """Measure, compare and answer."""
    costs, points = fit(bench)
    row = bench.row_bytes()
    click.echo("costs, µs and bytes:")
    for name, value in asdict(costs).items():
        scale = 1 if name.startswith("log_") else _MICRO
        click.echo(f"    {name:<24} {value * scale:>10,.1f}")
    one = points["one"]
    click.echo(
        f"    a single enqueue: server {one.server / one.calls * _MICRO:.0f}, client "
        f"{one.python / one.calls * _MICRO:.0f} µs, log {one.log / one.calls:.0f} bytes"
    )
    click.echo(f"    a done job: table {row[0]:.0f}, indexes {row[1]:.0f} bytes\n")
    click.echo(f"{'':<44} {'measured':>10} {'simulated':>10}")
    for check in checks(bench, costs, points):
        click.echo(check.line())
    dead_s = bench.dead_s()
    click.echo(
        f"\n{dead_s * _MICRO * 100_000:.1f} µs a job for each 100,000 claimed "
        f"since the last vacuum\n{cores} cores a server, {SHARE:.0%} of them used, "
        f"a vacuum every {nap_s:g} s"
    )
    grows = dead_s * nap_s / 2
    for name, each, size in (
        (f"{batch} jobs a call", costs, batch),
        ("single enqueues", of_one(costs, one), 1),
    ):
        click.echo(f"{name}\n{NEED_HEAD}")
        base = capacity(each, cores, size, grows)
        for times in (0.1, 1, 10, 100):
            click.echo(need(each, base * times, base, cores, size).line())


def main() -> None:
    """Read the options, measure and print."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scale", description=__doc__
    )
    parser.add_argument("--cores", type=int, default=2, help="of a server; default: 2")
    parser.add_argument(
        "--batch", type=int, default=100, help="jobs a call; default: 100"
    )
    parser.add_argument(
        "--nap", type=float, default=60.0, help="autovacuum_naptime; default: 60 s"
    )
    options = parser.parse_args()
    with running_server() as server_url, fresh_database(server_url) as url:
        report(Bench(url), options.cores, options.batch, options.nap)


if __name__ == "__main__":
    main()
