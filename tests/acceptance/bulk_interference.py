"""Measures how long others wait to enqueue while very many jobs are acted on.

Run it with ``python -m tests.acceptance.bulk_interference --backend both --rows
100000``. One process retries all failed jobs over HTTP and then deletes them by their
state; a thread of it and another process enqueue single jobs meanwhile and note how
long each took. It prints a table; the exit status is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import ForgeJobs, NewJob, Storage
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.instants import SECOND_US
from tests.acceptance.driving import add_backend, measure_each
from tests.support.databases import fresh_url
from tests.support.processes import start_python
from tests.support.sql import Sql

ROWS = 100_000
LIMIT_MS = 50.0
MS = 1000
CLOCK = SystemClock()
PREFIX = "/forge-jobs"
# Queue of those who enqueue meanwhile; the other one is acted on.
LIVE, BULK = "live", "bulk"
# Between two jobs of one producer; some hundred a second from both.
PAUSE_S = 0.004
# How long nothing else happens, for comparison.
IDLE_S = 2.0

_PRODUCE = f"""
import json, sys, threading, time
from flask_forge_jobs.model.jobs import NewJob
storage.jobs.enqueue(NewJob("noop", queue_name={LIVE!r}))
stopping = threading.Event()
def read():
    for line in sys.stdin:
        if line == "stop\\n":
            break
    stopping.set()
threading.Thread(target=read, daemon=True).start()
print("ready", flush=True)
while not stopping.wait({PAUSE_S}):
    began_at = time.time_ns() // 1000
    before = time.perf_counter()
    storage.jobs.enqueue(NewJob("noop", queue_name={LIVE!r}))
    print(json.dumps([began_at, time.perf_counter() - before]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One enqueue: when it began, in microseconds, and how many seconds it took."""

    began_at: int
    took_s: float


@dataclass(frozen=True, slots=True)
class Figure:
    """How long enqueues took during one piece of work.

    Args:
        name: The work, and who enqueued.
        rows: Jobs that were acted on.
        took_s: How long that took.
        p50_ms: Median of the enqueues.
        p99_ms: Their 99th percentile.
        max_ms: The longest.
        enqueued: How many there were.
        is_limited: Whether the limit holds for it.
    """

    name: str
    rows: int
    took_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    enqueued: int
    is_limited: bool = True

    @property
    def is_met(self) -> bool:
        """Whether the limit is met."""
        return not self.is_limited or self.p99_ms < LIMIT_MS


class Producers:
    """A process and a thread that enqueue single jobs until they are stopped."""

    def __init__(self, settings: DatabaseSettings, storage: Storage) -> None:
        self._storage = storage
        self._stopping = threading.Event()
        self._here: list[Sample] = []
        self._there: list[Sample] = []
        self._process = start_python(settings, _PRODUCE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._threads = [
            threading.Thread(target=self._enqueue, daemon=True),
            threading.Thread(target=self._read, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _enqueue(self) -> None:
        while not self._stopping.wait(PAUSE_S):
            began_at, before = CLOCK.now_us(), time.perf_counter()
            self._storage.jobs.enqueue(NewJob("noop", queue_name=LIVE))
            self._here.append(Sample(began_at, time.perf_counter() - before))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._there.append(Sample(*json.loads(line)))

    def stop(self) -> None:
        """Stop both and wait for them."""
        self._stopping.set()
        assert self._process.stdin is not None
        self._process.stdin.write("stop\n")
        self._process.stdin.flush()
        for thread in self._threads:
            thread.join(60)
        assert self._process.wait(60) == 0
        for pipe in (
            self._process.stdin, self._process.stdout, self._process.stderr,
        ):  # fmt: skip
            assert pipe is not None
            pipe.close()

    def between(self, start: int, end: int) -> dict[str, list[float]]:
        """Return the seconds of the enqueues that began within a time, by producer."""
        return {
            name: [each.took_s for each in samples if start <= each.began_at < end]
            for name, samples in (
                ("another process", self._there),
                ("another thread", self._here),
            )
        }


class Subject:
    """The real application over one database full of failed jobs."""

    def __init__(self, database_url: str, rows: int) -> None:
        self.settings = DatabaseSettings.from_url(database_url)
        self.sql = Sql(self.settings)
        self.rows = rows
        app = Flask("bulk")
        app.config["FORGE_JOBS_DATABASE_URL"] = database_url
        app.testing = True
        forge = ForgeJobs(app)
        with app.app_context():
            self.storage: Storage = forge.storage
        self.storage.open()
        self.storage.queues.ensure(LIVE)
        self.sql.seed(rows, status="failed", queue_name=BULK)
        self._client: FlaskClient = app.test_client()

    def close(self) -> None:
        """Close the database."""
        self.storage.close()

    def retry(self) -> int:
        """Retry all failed jobs; return how many."""
        return self._all("retry-all-failed", {})

    def delete(self) -> int:
        """Delete all jobs that the retry put back; return how many."""
        body = {"status": "pending", "queue_name": BULK}
        return self._all("delete-by-status", body)

    def _all(self, path: str, body: dict[str, str]) -> int:
        """Call a route until it says that nothing is left."""
        done = 0
        while True:
            answer = self._client.post(f"{PREFIX}/jobs/{path}", json=body)
            assert answer.status_code == 200, answer.text
            done += int(answer.text)
            if answer.headers.get("X-Bulk-Complete") != "false":
                return done


@contextmanager
def filled(backend: str, rows: int) -> Iterator[Subject]:
    """Yield the application over a fresh database."""
    with fresh_url(backend) as url, closing(Subject(url, rows)) as subject:
        yield subject


def measure(subject: Subject, idle_s: float = IDLE_S) -> list[Figure]:
    """Retry and delete everything, and return how long others waited meanwhile."""

    def idle() -> int:
        time.sleep(idle_s)
        return 0

    works: dict[str, Callable[[], int]] = {
        "nothing": idle,
        "retry-all-failed": subject.retry,
        "delete-by-status": subject.delete,
    }
    spans: dict[str, tuple[int, int, int]] = {}
    producers = Producers(subject.settings, subject.storage)
    try:
        for name, work in works.items():
            start = CLOCK.now_us()
            rows = work()
            spans[name] = (start, CLOCK.now_us(), rows)
    finally:
        producers.stop()
    found: list[Figure] = []
    for name, (start, end, rows) in spans.items():
        for who, samples in producers.between(start, end).items():
            found.append(
                _figure(f"{name}, {who}", rows, (end - start) / SECOND_US, samples)
            )
    assert spans["retry-all-failed"][2] == subject.rows
    assert spans["delete-by-status"][2] == subject.rows
    subject.sql.assert_counts_equal_rows()
    return found


def _figure(name: str, rows: int, took_s: float, samples: Sequence[float]) -> Figure:
    return Figure(
        name,
        rows,
        took_s,
        p50_ms=statistics.median(samples) * MS,
        p99_ms=percentile(samples, 0.99) * MS,
        max_ms=max(samples) * MS,
        enqueued=len(samples),
        is_limited=rows > 0,
    )


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that is not below a share of all."""
    return sorted(samples)[max(0, -int(-len(samples) * share // 1) - 1)]


def table(title: str, figures: Sequence[Figure]) -> str:
    """Return the figures as text."""
    lines = [
        f"{title}: enqueue in ms; the limit of p99 is {LIMIT_MS:.0f}",
        (
            f"{'meanwhile':<36}{'rows':>9}{'s':>7}{'jobs':>7}{'p50':>7}{'p99':>8}"
            f"{'max':>8}"
        ),
    ]
    lines += [
        f"{each.name:<36}{each.rows:>9,}{each.took_s:>7.1f}{each.enqueued:>7,}"
        f"{each.p50_ms:>7.1f}{each.p99_ms:>8.1f}{each.max_ms:>8.1f}  "
        f"{'met' if each.is_met else 'MISSED'}"
        for each in figures
    ]
    return "\n".join(lines)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--rows", type=int, default=ROWS)
    arguments = parser.parse_args()

    def run(backend: str) -> tuple[str, bool]:
        with filled(backend, arguments.rows) as subject:
            figures = measure(subject)
        return table(backend, figures), all(each.is_met for each in figures)

    return measure_each(arguments.backend, run)


if __name__ == "__main__":
    sys.exit(main())
