"""Measures what operators read, with a million jobs and while jobs run.

Run it with ``python -m tests.acceptance.operating --backend both --rows 1000000``. It
fills a database with 50 queues, 200 kinds and 400 signatures, lets a worker in another
process run jobs, some of which fail and all of which log lines, and prints for each
read the median and the 95th percentile of the server's time, and on PostgreSQL the
round trips, as a proxy counts them. ``--url`` names a database instead, which is filled
if it is empty, and kept. The exit status is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from statistics import median, median_low, quantiles
from urllib.parse import urlencode

from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.instants import format_instant, from_micros
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.driving import add_backend, measure_each
from tests.acceptance.million import MS, PREFIX
from tests.acceptance.operating_data import fill_operations
from tests.acceptance.operating_traffic import READY
from tests.support.databases import fresh_url
from tests.support.proxy import proxied
from tests.support.sql import Sql

LIMIT_MS, ATTENTION_LIMIT_MS = 10.0, 15.0
LARGEST_TRIPS = 2
REPEATS, FEW_REPEATS = 100, 5
ATTENTION = "/v1/attention"


@dataclass(frozen=True, slots=True)
class Figure:
    """One read: its times in milliseconds and its round trips, if they were counted."""

    path: str
    median_ms: float
    p95_ms: float
    trips: int | None = None

    @property
    def limit_ms(self) -> float:
        """The longest allowed 95th percentile."""
        return ATTENTION_LIMIT_MS if self.path == ATTENTION else LIMIT_MS

    @property
    def is_met(self) -> bool:
        """Whether both limits are met."""
        are_few = self.trips is None or self.trips <= LARGEST_TRIPS
        return are_few and self.p95_ms <= self.limit_ms


def paths_of(sql: Sql) -> list[str]:
    """Return every read that is measured, without the prefix."""
    ids = {
        status: sql.value(
            f"SELECT MAX(id) FROM forge_job WHERE status = '{status}'"
            " AND id LIKE 'FILLED%'"
        )
        for status in ("pending", "done", "failed", "dead")
    }
    live = sql.value("SELECT MAX(job_id) FROM forge_log")
    signature = "ValueError:%20no%20account%20of%20bc"
    now = from_micros(sql.now_us())
    day = {"from": format_instant(now - timedelta(days=1)), "to": format_instant(now)}
    window = urlencode({**day, "bucket_secs": 600})
    jobs = [f"/v1/jobs/{ids['failed']}", f"/v1/jobs/{live}", f"/v1/jobs/{live}/logs"]
    jobs += [f"/v1/jobs/{job_id}/explain" for job_id in ids.values()]
    worker = sql.value("SELECT MIN(worker_id) FROM forge_worker WHERE lost_at IS NULL")
    return [
        *jobs,
        "/v1/queues/queue-1/explain",
        "/v1/queues/queue-40/explain",
        "/v1/queues/queue-1",
        ATTENTION,
        "/v1/errors",
        "/v1/errors?queue=queue-1",
        "/v1/errors?range=24h",
        "/v1/errors?range=7d",
        f"/v1/jobs?signature={signature}",
        f"/v1/jobs?signature={signature}&queue=queue-1",
        "/v1/jobs/counts",
        "/v1/jobs/counts?queue=queue-1&kind=kind-1",
        "/v1/me",
        "/v1/workers",
        f"/v1/workers/{worker}",
        "/v1/cron",
        "/v1/cron/firings",
        "/v1/cron/every-24/runs",
        "/v1/cron/nightly/runs",
        "/v1/kinds",
        *(f"/v1/gauges?{whose}{window}" for whose in ("", "name=queue-1&")),
        f"/v1/series?by=kind&name=kind-1&{window}",
        f"/v1/series?by=queue&name=queue-1&{window}",
        f"/v1/series?by=queue&{window}",
    ]


class Reader:
    """The application over a filled database, asked by a client."""

    def __init__(self, database_url: str) -> None:
        app = Flask("operating")
        app.config["FORGE_JOBS_DATABASE_URL"] = database_url
        app.testing = True
        ForgeJobs(app)
        self._storage = state_of(app).storage
        self._client: FlaskClient = app.test_client()

    def close(self) -> None:
        """Close the database."""
        self._storage.close()

    def get(self, path: str) -> float:
        """Get a path; return the milliseconds it took."""
        before = time.perf_counter()
        answer = self._client.get(f"{PREFIX}{path}")
        took = (time.perf_counter() - before) * MS
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return took


def measure(url: str, paths: Sequence[str], repeats: int) -> dict[str, list[float]]:
    """Return the milliseconds of several reads of each path, the paths in turn."""
    samples: dict[str, list[float]] = {path: [] for path in paths}
    with closing(Reader(url)) as reader:
        for path in paths:
            reader.get(path)
        gc.freeze()  # as forge-jobs-server does
        for _ in range(repeats):
            for path in paths:
                samples[path].append(reader.get(path))
        gc.unfreeze()
    return samples


def count_trips(url: str, paths: Sequence[str]) -> dict[str, int]:
    """Return the round trips of each read on PostgreSQL."""
    settings = DatabaseSettings.from_url(url)
    with proxied(settings) as proxy, closing(Reader(proxy.url_of(settings))) as reader:

        def trips(path: str) -> int:
            before = proxy.weather.answers
            reader.get(path)
            return proxy.weather.answers - before

        counted = {}
        for path in paths:
            reader.get(path)
            if path == ATTENTION:
                time.sleep(1.0)  # asks the database once a second only
            samples = [trips(path) for _ in range(FEW_REPEATS)]
            # Now and then a thread in the background asks, too.
            counted[path] = samples[0] if path == ATTENTION else median_low(samples)
    return counted


@contextlib.contextmanager
def traffic(url: str, pause_s: float = 0.0) -> Iterator[None]:
    """Let another process enqueue and run jobs, which take up to six pauses each."""
    module = "tests.acceptance.operating_traffic"
    command = [sys.executable, "-m", module, url, str(pause_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == READY, "the traffic has not started"
        try:
            yield
        finally:
            process.communicate()
    assert process.returncode == 0


def run(url: str, rows: int, repeats: int, only: str) -> tuple[str, bool]:
    """Fill a database that is empty, measure the reads and return a report.

    Args:
        url: The database.
        rows: How many jobs to fill it with, a multiple of 100.
        repeats: How often each path is read.
        only: Paths without this text are left out.
    """
    settings = DatabaseSettings.from_url(url)
    backend = settings.backend
    with closing(open_storage(settings)) as storage:
        storage.open()
    sql = Sql(settings)
    if not sql.value("SELECT COUNT(*) FROM forge_queue"):
        fill_operations(sql, backend, rows)
    with traffic(url):
        paths = [path for path in paths_of(sql) if only in path]
        samples = measure(url, paths, repeats)
        trips = count_trips(url, paths) if backend == "postgres" else {}
    figures = [
        Figure(path, median(each), quantiles(each, n=20)[-1], trips.get(path))
        for path, each in samples.items()
    ]
    return table(f"{backend}, in ms", figures), all(each.is_met for each in figures)


def table(title: str, figures: Sequence[Figure]) -> str:
    """Return the figures as text."""
    lines = [title, f"{'':<58}{'median':>8}{'p95':>8}{'limit':>7}{'trips':>7}"]
    lines += [
        f"{each.path[:57]:<58}{each.median_ms:>8.2f}{each.p95_ms:>8.2f}"
        f"{each.limit_ms:>7.0f}{'' if each.trips is None else each.trips:>7}"
        f"  {'met' if each.is_met else 'MISSED'}"
        for each in figures
    ]
    return "\n".join(lines)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", metavar="TEXT", default="", help="a part of a path")
    parser.add_argument("--url", help="a database to keep, instead of the backends")
    arguments = parser.parse_args()

    def run_on(url: str) -> tuple[str, bool]:
        return run(url, arguments.rows, arguments.repeats, arguments.only)

    def run_fresh(backend: str) -> tuple[str, bool]:
        with fresh_url(backend) as url:
            return run_on(url)

    if arguments.url is None:
        return measure_each(arguments.backend, run_fresh)
    text, is_met = run_on(arguments.url)
    sys.stdout.write(f"{text}\n")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
