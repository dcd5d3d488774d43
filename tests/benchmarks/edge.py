"""``python -m tests.benchmarks.edge``: what the API costs beside a bare Flask route.

Both are served by the same gunicorn with two workers and asked by wrk in turns:
``/queue/overview`` with ten queues and a bearer token, and a route that reads one row
through the same driver. It prints requests per second and the ratio, asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.driving import chosen_backends
from tests.benchmarks import edge_application
from tests.benchmarks.edge_application import BARE
from tests.support.commands import ROOT
from tests.support.databases import fresh_url
from tests.support.programs import environment, running, script

QUEUES = 10
JOBS_A_QUEUE = 20
OVERVIEW = "/forge-jobs/queue/overview"
WORKERS = 2
CONNECTIONS = 8
WARM_UP_S = 2
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_REFUSED = re.compile(r"Non-2xx or 3xx responses: ([0-9]+)")


@dataclass(frozen=True, slots=True)
class Figures:
    """What one backend reached."""

    backend: str
    bare_hz: list[float]
    overview_hz: list[float]

    @property
    def ratio(self) -> float:
        """The median overview as a part of the median bare route."""
        return median(self.overview_hz) / median(self.bare_hz)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="both")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed")
    click.echo(
        f"{QUEUES} queues, {WORKERS} workers, {CONNECTIONS} connections, "
        f"{options.rounds} rounds of {options.seconds} s"
    )
    for backend in chosen_backends(options.backend):
        figures = measure(backend, options.seconds, options.rounds)
        click.echo(
            f"{backend}: bare {median(figures.bare_hz):.0f}/s, "
            f"overview {median(figures.overview_hz):.0f}/s, {figures.ratio:.0%}"
        )


def measure(backend: str, seconds: int, rounds: int) -> Figures:
    """Serve both routes and ask them in turns."""
    token, digest = new_token("edge")
    entry = {"id": "edge", "sha256": digest, "role": "viewer"}
    figures = Figures(backend, [], [])
    with fresh_url(backend) as url, _serving(url, json.dumps([entry])) as port:
        fill(url)
        for path in (BARE, OVERVIEW):
            ask(port, path, token, WARM_UP_S)
        for _ in range(rounds):
            figures.bare_hz.append(ask(port, BARE, token, seconds))
            figures.overview_hz.append(ask(port, OVERVIEW, token, seconds))
    return figures


def fill(url: str) -> None:
    """Store ten queues with some jobs."""
    with closing(open_storage(DatabaseSettings.from_url(url))) as storage:
        for number in range(QUEUES):
            name = f"queue-{number}"
            storage.queues.ensure(name)
            jobs = [NewJob("k", queue_name=name) for _ in range(JOBS_A_QUEUE)]
            storage.jobs.enqueue_many(jobs)


def ask(port: int, path: str, token: str, seconds: int) -> float:
    """Let wrk ask a route for some time; return requests per second."""
    command = [
        "wrk", "--threads=1", f"--connections={CONNECTIONS}", f"--duration={seconds}s",
        f"--header=Authorization: Bearer {token}", f"http://127.0.0.1:{port}{path}",
    ]  # fmt: skip
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    refused = _REFUSED.search(told)
    rate = _RATE.search(told)
    if refused is not None or rate is None:
        raise RuntimeError(f"{path}:\n{told}")
    return float(rate[1])


@contextmanager
def _serving(url: str, tokens: str) -> Iterator[int]:
    command = [
        script("gunicorn"), "--bind=127.0.0.1:0", f"--workers={WORKERS}",
        f"--pythonpath={edge_application.PATH.parent},{ROOT}",
        f"{edge_application.PATH.stem}:create_app()",
    ]  # fmt: skip
    variables = environment(url, FLASK_FORGE_JOBS_TOKENS=tokens)
    with (
        tempfile.TemporaryDirectory(prefix="forge-edge-") as folder,
        running(command, environ=variables, folder=Path(folder)) as program,
    ):
        yield program.port()


if __name__ == "__main__":
    main()
