"""A program that stores jobs from a thread while it forks children that store others.

It says the id of each job that is stored, one a line, and ends with status 1 when a
child does not end as it should; then its errors tell why. It is a process of its own
because nobody in it may have the SQLite file open by other means than the package.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from flask_forge_jobs import DatabaseSettings, NewJob, Storage, open_storage
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import LONGEST_WAIT_S
from flask_forge_jobs.model.payloads import dump
from tests.acceptance.application import KIND, MAX_ATTEMPTS, REFUSED, REFUSED_STATUS
from tests.acceptance.ledger import Ack
from tests.support.processes import Child, Peer
from tests.support.storing import ROOT

JOBS_A_CHILD = 5
# For so long the thread writes without a pause before each fork.
BUSY_S = 0.02
# On a busy machine the server may take as long for a connection or a statement; this is
# no test of time limits. A child lives for a little longer at most.
PATIENCE_S = 50


def _store(storage: Storage) -> str:
    payload = dump({"number": 0, "sleep_ms": 1})
    return storage.jobs.enqueue(NewJob(KIND, payload, max_attempts=MAX_ATTEMPTS)).id


def _say(job_id: str) -> None:
    sys.stdout.write(f"{job_id}\n")
    sys.stdout.flush()


def _write(storage: Storage, stop: threading.Event) -> None:
    while not stop.is_set():
        _say(_store(storage))


def _fork(storage: Storage, count: int) -> None:
    """Have a child store so many jobs."""

    def work(parent: Peer) -> None:
        for _ in range(count):
            try:
                parent.say(_store(storage))
            except StorageError as error:
                if REFUSED not in str(error):
                    raise
                os._exit(REFUSED_STATUS)

    began_at = time.monotonic()
    child = Child(work)
    # On a busy machine, a fork may not get the file closed in time.
    has_waited = time.monotonic() - began_at >= LONGEST_WAIT_S
    for _ in range(count):
        if job_id := child.hear():  # nothing when it is gone
            _say(job_id)
    status = child.end()
    if status != 0 and not (has_waited and status == REFUSED_STATUS):
        raise ChildProcessError(f"a child ended with status {status}")


def main(url: str, forks: int, duration_s: float, seed: int) -> None:
    """Fork so often over so many seconds, beside a thread that writes."""
    source = random.Random(seed)
    pause = threading.Event()
    settings = replace(
        DatabaseSettings.from_url(url),
        connect_timeout_s=PATIENCE_S,
        statement_timeout_s=PATIENCE_S,
    )
    with (
        contextlib.closing(open_storage(settings)) as storage,
        ThreadPoolExecutor(1) as pool,
    ):
        for _ in range(forks):
            pause.wait(source.uniform(0.0, 2 * duration_s / forks))
            stop = threading.Event()
            writing = pool.submit(_write, storage, stop)
            try:
                pause.wait(BUSY_S)
                _fork(storage, source.randint(1, JOBS_A_CHILD))
            finally:
                stop.set()
            writing.result()


class ForkingProducer:
    """The program as a process.

    Args:
        url: Of the database.
        folder: For what it says.
        forks: How often it forks; never means that it is not started.
        duration_s: Over how many seconds.
        seed: Of everything random in it.
    """

    def __init__(
        self, url: str, folder: Path, *, forks: int, duration_s: float, seed: int
    ) -> None:
        self._said, self._errors = folder / "forking", folder / "forking-errors"
        self._forks = forks
        if forks:
            command = [sys.executable, "-m", __name__, url]
            command += [str(number) for number in (forks, duration_s, seed)]
            with self._said.open("w") as output, self._errors.open("w") as errors:
                self._process = subprocess.Popen(
                    command, cwd=ROOT, stdout=output, stderr=errors
                )

    def finish(self, limit_s: float) -> list[Ack]:
        """Wait for its end and return its acks.

        Raises:
            ChildProcessError: It or a child of it did not end as it should.
        """
        if not self._forks:
            return []
        status = self._process.wait(limit_s)
        if status != 0:
            errors = self._errors.read_text()
            raise ChildProcessError(
                f"the producer that forks ended with {status}:\n{errors}"
            )
        return [Ack(job_id) for job_id in self._said.read_text().split()]

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._forks and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


if __name__ == "__main__":
    address, *numbers = sys.argv[1:]
    main(address, int(numbers[0]), float(numbers[1]), int(numbers[2]))
