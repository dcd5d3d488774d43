"""``python -m tests.benchmarks.calls``: count the Python calls of four paths.

Each is done over and over on a SQLite file: a task's ``.enqueue()``, one job that comes
alone, from the round of the dispatcher that claims it to the end of the one that stores
its outcome, ``GET /queue/timeline`` with 60 buckets, and a change of a queue over HTTP.
What counts are functions of this package, generators each time they go on. It prints
the median, asserts nothing, and with ``--list`` names what was called how often.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median_low

import click
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.auth.tokens import new_token
from tests.support.calls import Calls, calls_of_runs

REPEATS = 25
TIMELINE = (
    "/forge-jobs/queue/timeline"
    "?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z&bucket_secs=60"
)
BACKOFF = "/forge-jobs/queue/default/backoff"
CURVE = {"enabled": True, "base_seconds": 60, "max_seconds": 1800}


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the functions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forge-calls-") as folder:
        for what, runs in measure(Path(folder)).items():
            typical = median_low([len(names) for names in runs])
            chosen = next(run for run in runs if len(run) == typical)
            files = len({each.partition(":")[0] for each in chosen})
            click.echo(f"{typical:5} calls in {files} files: {what}")
            if options.list:
                for name, count in sorted(Counter(chosen).items()):
                    click.echo(f"      {count:3} {name}")


def measure(folder: Path) -> dict[str, list[list[str]]]:
    """Return what each path has called, run by run."""
    token, digest = new_token("calls")
    app = Flask("calls")
    app.config["FORGE_JOBS_DATABASE_URL"] = f"sqlite:///{folder / 'jobs.db'}"
    app.config["FORGE_JOBS_TOKENS"] = [
        {"id": "calls", "sha256": digest, "role": "admin"}
    ]
    forge = ForgeJobs(app)
    calls = Calls()

    @forge.task
    def note(number: int) -> None:
        del number

    client = app.test_client()

    headers = {"Authorization": f"Bearer {token}"}

    def ask() -> None:
        answer = client.get(TIMELINE, headers=headers)
        assert len(answer.get_json()) == 60, answer.text  # a benchmark

    def change() -> None:
        answer = client.post(BACKOFF, headers=headers, json=CURVE)
        assert answer.status_code == 200, answer.text

    with app.app_context():
        note.enqueue(number=0)  # opens the file
        ask()
        change()
        return {
            "one .enqueue()": [
                calls.during(lambda: note.enqueue(number=1)) for _ in range(REPEATS)
            ],
            "claim to finish of one job": calls_of_runs(
                app, calls, note.enqueue, REPEATS
            ),
            "GET /queue/timeline, 60 buckets": [
                calls.during(ask) for _ in range(REPEATS)
            ],
            "POST /queue/{name}/backoff": [
                calls.during(change) for _ in range(REPEATS)
            ],
        }


if __name__ == "__main__":
    main()
