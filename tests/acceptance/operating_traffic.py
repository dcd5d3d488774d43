"""Enqueues and runs jobs in a process of its own until its input ends.

A tenth of the jobs fails, and each logs a line. It prints a line once jobs have run.
Jobs take up to six times the seconds of the second argument, 0 by default.
"""

from __future__ import annotations

import itertools
import logging
import select
import sys
import time

from flask import Flask

from flask_forge_jobs import ForgeJobs, NewJob, Storage
from flask_forge_jobs.runtime.run.job_log import JOB_LOGGER
from flask_forge_jobs.state import state_of
from tests.acceptance.operating_data import KINDS, QUEUES
from tests.support.waiting import wait_until

READY = "jobs run\n"
BATCH, PERIOD_S = 10, 0.2
THREADS, GRACE_S = 4, 10.0
logger = logging.getLogger("traffic")


def create_app(url: str, pause_s: float = 0.0) -> Flask:
    """Return the application, with a task for each kind of the filling."""
    app = Flask("traffic")
    app.config["FORGE_JOBS_DATABASE_URL"] = url
    forge = ForgeJobs(app)

    def add(kind: str) -> None:
        @forge.task(kind=kind, max_attempts=2)
        def run(number: int = 1, account_id: int = 0, note: str = "") -> None:
            # The jobs of the filling have the last two.
            logger.info("runs job %s of %s: %s", number, account_id, note)
            time.sleep(pause_s * ((number + account_id) % 7))
            if number % BATCH == 0:
                raise ValueError(f"no account of {kind} {number}")

    for number in range(KINDS):
        add(f"kind-{number}")
    return app


def enqueue_batches(storage: Storage) -> None:
    """Enqueue some jobs now and then until the input ends."""
    numbers = itertools.count()
    while not select.select([sys.stdin], [], [], PERIOD_S)[0]:
        storage.jobs.enqueue_many(
            [
                NewJob(
                    f"kind-{number % KINDS}",
                    {"number": number},
                    queue_name=f"queue-{number % QUEUES}",
                )
                for number in itertools.islice(numbers, BATCH)
            ]
        )


def main() -> int:
    """Run from the command line, with the URL of the database."""
    logging.getLogger(JOB_LOGGER).setLevel(logging.CRITICAL)
    url, *pauses = sys.argv[1:]
    app = create_app(url, *map(float, pauses))
    with app.app_context():
        state = state_of(app)
        queues = [f"queue-{number}" for number in range(QUEUES)]
        handle = state.runtime(THREADS).with_queues(queues).start()
        # Ahead of the jobs of the filling.
        ahead = NewJob("kind-1", {"number": 1}, queue_name="queue-1", priority=-1)
        first = state.storage.jobs.enqueue_many([ahead])[0]
        get = state.storage.job_reader.get
        wait_until(lambda: get(first.id).status.is_final, "a job has run")
        sys.stdout.write(READY)
        sys.stdout.flush()
        enqueue_batches(state.storage)
        handle.shutdown_graceful(GRACE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
