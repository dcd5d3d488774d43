"""The worker of ``forge-jobs-server --demo``, and a job every second."""

from __future__ import annotations

import logging
import os
import random
import sys
from pathlib import Path

from flask import Flask

from flask_forge_jobs.config.environment import ServerEnvironment
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.runtime.foreground import PARENT_PIPE_VARIABLE, run_in_foreground
from flask_forge_jobs.runtime.service import Duty, Service
from flask_forge_jobs.server import LOG_FORMAT, create_app
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.database import logger as database_logger
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.tasks.bundled import noop_echo

THREADS = 4
GRACE_S = 2.0
PERIOD_S = 1.0
_FAILING_SHARE = 0.1


class DemoProducer(Duty):
    """Enqueues a demo job every second; one in ten fails and is retried."""

    def __init__(self, jobs: JobQueue, random_source: random.Random) -> None:
        super().__init__("demo-jobs", PERIOD_S)
        self._jobs = jobs
        self._random = random_source

    def tick(self) -> None:
        """Enqueue one job."""
        payload = {
            "sleep_ms": self._random.randrange(20, 400),
            "fail": self._random.random() < _FAILING_SHARE,
        }
        self._jobs.enqueue(NewJob(noop_echo.KIND, dump(payload), max_attempts=2))


def run(app: Flask) -> int:
    """Run the worker and the producer until a signal or the server's end."""
    state = state_of(app)
    producer = Service(
        DemoProducer(state.storage.jobs, random.Random())  # noqa: S311  # no secret
    )
    runtime = (
        state.runtime(THREADS).with_queues([DEFAULT_QUEUE]).with_worker_name("demo")
    )
    state.storage.open()
    producer.start()
    try:
        return run_in_foreground(runtime, grace_s=GRACE_S)
    finally:
        producer.stop()
        producer.join(PERIOD_S)


def main() -> None:
    """Run in the foreground on the data in the folder named by the only argument."""
    # ServerEnvironment refuses a variable that is not a setting.
    environ = {k: v for k, v in os.environ.items() if k != PARENT_PIPE_VARIABLE}
    environment = ServerEnvironment.from_environ(environ)
    logging.basicConfig(level=environment.log_level, format=LOG_FORMAT)
    database_logger.setLevel(logging.WARNING)  # already logged
    sys.exit(run(create_app(environ, demo=Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
