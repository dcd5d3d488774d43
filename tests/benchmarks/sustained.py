"""``python -m tests.benchmarks.sustained``: a steady rate of jobs on PostgreSQL.

A producer stores jobs in bulk, at a pace that does not depend on the worker, and a
worker with 8 slots runs them. Both are processes of their own. It prints, for each part
of the time, the pickup (from just before the call that enqueues to the first line of
the task), what waits, dead rows, the sizes of the table and of the index for claims,
and the CPU of each side. It asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psycopg2

from flask_forge_jobs.config.database import DatabaseSettings
from tests.benchmarks.measure import NS_PER_MS, Watch, percentile
from tests.benchmarks.ours import OurQueue
from tests.support.postgres import fresh_database, running_server
from tests.support.sql import Sql

ROOT = Path(__file__).resolve().parents[2]
PARTS = 10
# How long after the last job the worker may take for the rest.
REST_S = 120.0
READY = "ready"
_TICKS = os.sysconf("SC_CLK_TCK")
_STATE = """
SELECT
    COALESCE((
        SELECT SUM(jobs) FROM forge_job_count
        WHERE status IN ('pending', 'in_progress', 'failed')
    ), 0)::bigint,
    n_dead_tup, autovacuum_count, pg_table_size('forge_job'),
    pg_relation_size('forge_job_claim')
FROM pg_stat_user_tables
WHERE relname = 'forge_job'
"""
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Load:
    """How many jobs a second, for how many seconds, how many with each call."""

    rate: int
    seconds: int
    chunk: int

    @property
    def jobs(self) -> int:
        """The number of jobs, whole calls."""
        return self.rate * self.seconds // self.chunk * self.chunk


# -- the processes ---------------------------------------------------------------------


class Pickups:
    """The pickup of every job in ms, by the part of the time in which it was sent."""

    def __init__(self, load: Load) -> None:
        self.expected = load.jobs
        self._part_ns = load.seconds * 1_000_000_000 // PARTS
        self._parts = [array("f") for _ in range(PARTS + 1)]
        self._begun_ns: int | None = None

    def note(self, sent_ns: int) -> None:
        """Note that a job has started; threads need no lock to append."""
        now_ns = time.monotonic_ns()
        if self._begun_ns is None:
            self._begun_ns = sent_ns
        part = min((sent_ns - self._begun_ns) // self._part_ns, PARTS)
        self._parts[part].append((now_ns - sent_ns) / NS_PER_MS)

    @property
    def count(self) -> int:
        """How many have started."""
        return sum(map(len, self._parts))

    def result(self) -> Result:
        """Return the percentiles of each part."""
        kept = [part for part in self._parts if len(part) > 0]
        return {
            "lost": self.expected - self.count,
            "p50": [percentile(part, 50) for part in kept],
            "p99": [percentile(part, 99) for part in kept],
        }


def _queue(url: str, pickups: Pickups) -> OurQueue:
    queue = OurQueue("postgres", url, Watch(1))
    queue._timed = queue._forge.task(kind="steady")(pickups.note)
    return queue


def work(url: str, load: Load) -> Result:
    """Run a worker until every job has started."""
    pickups = Pickups(load)
    queue = _queue(url, pickups)
    ends_at = time.monotonic() + load.seconds + REST_S
    with queue.working():
        click.echo(READY)
        while pickups.count < load.jobs and time.monotonic() < ends_at:
            time.sleep(0.1)
    return pickups.result()


def produce(url: str, load: Load) -> Result:
    """Store the jobs; a late call does not delay those that follow."""
    queue = _queue(url, Pickups(load))
    late_s = 0.0
    with queue._app.app_context():
        begun = time.monotonic()
        for number in range(load.jobs // load.chunk):
            left_s = begun + number * load.chunk / load.rate - time.monotonic()
            if left_s > 0:
                time.sleep(left_s)
            late_s = max(late_s, -left_s)
            sent_ns = time.monotonic_ns()
            queue._forge.enqueue_many(
                queue._timed.job(sent_ns) for _ in range(load.chunk)
            )
    return {"late_s": late_s}


ROLES = {"work": work, "produce": produce}


@contextlib.contextmanager
def _started(role: str, url: str, load: Load) -> Iterator[subprocess.Popen[str]]:
    numbers = map(str, (load.rate, load.seconds, load.chunk))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.sustained", role, url, *numbers],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _result_of(process: subprocess.Popen[str]) -> Result:
    lines = process.communicate(timeout=REST_S * 2)[0].splitlines()
    if process.returncode != 0 or not lines:
        raise RuntimeError(f"a process ended with status {process.returncode}")
    result: Result = json.loads(lines[-1])
    return result


# -- the costs -------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of its children that have ended."""
    with contextlib.suppress(FileNotFoundError):
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / _TICKS
    return 0.0


def _server_processes(url: str) -> list[int]:
    """Return the server's first process and its children."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        first = _parent_of(connection.info.backend_pid)
    every = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    return [first, *(pid for pid in every if _parent_of(pid) == first)]


def _parent_of(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        text = Path(f"/proc/{pid}/stat").read_text("utf-8")
        return int(text.rsplit(")", 1)[1].split()[1])
    return 0


def _server_cpu_s(url: str) -> float:
    return sum(map(cpu_s, _server_processes(url)))


# -- the driver ------------------------------------------------------------------------


def measure(url: str, load: Load, kept: int) -> None:
    """Run the load on an empty database and print what comes out."""
    queue = OurQueue("postgres", url, Watch(1))
    queue.prepare()
    queue._state.storage.close()
    settings = DatabaseSettings.from_url(url)
    if kept:
        Sql(settings).seed(kept, status="done", prefix="0kept")
        Sql(settings).run("VACUUM ANALYZE")
    with _started("work", url, load) as worker:
        assert worker.stdout is not None
        if worker.stdout.readline().strip() != READY:
            raise RuntimeError("the worker did not start")
        before = _server_cpu_s(url), cpu_s(worker.pid)
        begun = time.monotonic()
        with _started("produce", url, load) as producer:
            states = list(_look(url, load, begun))
            made = _result_of(producer)
        ended_s = time.monotonic() - begun
        sides = (_server_cpu_s(url) - before[0], _worker_cpu_s(worker, before[1]))
        ran = _result_of(worker)
        rest_s = time.monotonic() - begun - ended_s
    click.echo(_table(states, ran))
    click.echo(
        f"{load.jobs:,} jobs in {ended_s:.1f} s, {ran['lost']} lost; the producer was "
        f"at most {made['late_s'] * 1000:.0f} ms late, the worker ended {rest_s:.1f} s "
        f"after it; CPU a job: server {sides[0] / load.jobs * 1e6:.1f}, worker "
        f"{sides[1] / load.jobs * 1e6:.1f} µs; p99 of the last part / the first: "
        f"{ran['p99'][-1] / ran['p99'][0]:.2f}"
    )


def _worker_cpu_s(worker: subprocess.Popen[str], before_s: float) -> float:
    return cpu_s(worker.pid) - before_s


def _look(url: str, load: Load, begun: float) -> Iterator[tuple[Any, ...]]:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        for part in range(1, PARTS + 1):
            left_s = begun + load.seconds * part / PARTS - time.monotonic()
            time.sleep(max(left_s, 0))
            cursor.execute(_STATE)
            yield cursor.fetchone() or ()


def _table(states: list[tuple[Any, ...]], ran: Result) -> str:
    lines = [
        "part  p50 ms  p99 ms  waiting     dead  vacuums  table MB  claim index MB"
    ]
    for number, state in enumerate(states):
        waiting, dead, vacuums, table, index = state
        p50, p99 = (
            ran[name][number] if number < len(ran[name]) else float("nan")
            for name in ("p50", "p99")
        )
        lines.append(
            f"{number + 1:4}  {p50:6.1f}  {p99:6.1f}  {waiting:7}  {dead:7}  "
            f"{vacuums:7}  {table / 1e6:8.0f}  {index / 1e6:14.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the options, measure and print; or play one of the roles."""
    logging.disable(logging.INFO)
    if sys.argv[1:2] and sys.argv[1] in ROLES:
        role, url, *numbers = sys.argv[1:]
        click.echo(json.dumps(ROLES[role](url, Load(*map(int, numbers)))))
        return
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.sustained", description=__doc__
    )
    parser.add_argument("--rate", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--seconds", type=int, default=60, help="default: 60")
    parser.add_argument(
        "--chunk", type=int, default=250, help="jobs a call; default: 250"
    )
    parser.add_argument(
        "--kept", type=int, default=0, help="jobs that are there before; default: 0"
    )
    options = parser.parse_args()
    load = Load(options.rate, options.seconds, options.chunk)
    with running_server() as server_url, fresh_database(server_url) as url:
        measure(url, load, options.kept)


if __name__ == "__main__":
    main()
