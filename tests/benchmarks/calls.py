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
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median_low

import click
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.state import state_of
from tests.support.calls import DISPATCHER, Calls

REPEATS = 25
# What begins and ends a round of the dispatcher, and what asks the database.
ROUND, REST = "Dispatcher._round", "Dispatcher._pause_s"
EXCHANGE = "JobQueue.exchange"
TIMELINE = (
    "/forge-jobs/queue/timeline"
    "?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z&bucket_secs=60"
)
BACKOFF = "/forge-jobs/queue/default/backoff"
CURVE = {"enabled": True, "base_seconds": 60, "max_seconds": 1800}
# Soon after its last write an idle dispatcher asks when the next job is due.
_REST_S = 0.1
_LIMIT_S = 30.0


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the functions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forge-calls-") as folder:
        for what, runs in measure(Path(folder)).items():
            typical = median_low([len(names) for names in runs])
            files = max(len({each.partition(":")[0] for each in run}) for run in runs)
            click.echo(f"{typical:5} calls in {files} files: {what}")
            if options.list:
                chosen = next(run for run in runs if len(run) == typical)
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
            "claim to finish of one job": _runs(app, calls, note.enqueue),
            "GET /queue/timeline, 60 buckets": [
                calls.during(ask) for _ in range(REPEATS)
            ],
            "POST /queue/{name}/backoff": [
                calls.during(change) for _ in range(REPEATS)
            ],
        }


def _runs(
    app: Flask, calls: Calls, enqueue: Callable[[int], object]
) -> list[list[str]]:
    reader = state_of(app).storage.job_reader

    def is_idle() -> bool:
        counts = reader.statistics()["default"].counts
        return not (counts.pending or counts.in_progress)

    noted = []
    with calls.on_new_threads():
        handle = state_of(app).runtime(2).with_queues(["default"]).start()
        try:
            _wait_until(is_idle)
            for _ in range(REPEATS):
                time.sleep(_REST_S)
                calls.take()
                calls.is_on = True
                enqueue(1)
                _wait_until(is_idle)
                time.sleep(_REST_S)
                calls.is_on = False
                noted.append(_from_claim_to_finish(calls.take()))
        finally:
            handle.shutdown_graceful()
    return noted


def _from_claim_to_finish(by_thread: dict[str, list[str]]) -> list[str]:
    """Return what one job has called, without the rounds before and after."""
    dispatcher = by_thread.pop(DISPATCHER)
    exchanges = _places(dispatcher, EXCHANGE)
    claim, finish = exchanges[0], exchanges[1]
    begin = max(each for each in _places(dispatcher, ROUND) if each < claim)
    end = min(each for each in _places(dispatcher, REST) if each > finish)
    return sum(by_thread.values(), dispatcher[begin:end])


def _places(names: list[str], function: str) -> list[int]:
    return [n for n, name in enumerate(names) if name.endswith(f": {function}")]


def _wait_until(is_true: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + _LIMIT_S
    while not is_true():
        if time.monotonic() > ends_at:
            raise TimeoutError
        time.sleep(0.01)


if __name__ == "__main__":
    main()
