"""The producer of the kill driver: stores jobs at a steady pace and keeps the acks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, islice

from flask_forge_jobs import EnqueueResult, NewJob, Storage
from flask_forge_jobs.model.payloads import dump
from tests.acceptance.application import FORKING_KIND, KIND, MAX_ATTEMPTS
from tests.acceptance.ledger import Ack

LONGEST_RUN_MS = 20
FAILING_SHARE = 0.2
KEYED_SHARE = 0.05
# Some jobs are slow when they are run again, so that the new owner still runs them when
# a stalled one comes back with its own outcome: only the fence tells the two apart.
SLOW_AGAIN_SHARE = 0.3
SLOW_AGAIN_MS = 2000
# One of so many takes so long that lines of it are stored before it ends.
JOBS_A_LONG_RUN, LONG_RUN_MS = 150, 2500
# Few enough keys that many jobs meet an unfinished one with theirs.
JOBS_A_KEY = 200
LARGEST_BATCH = 40


class Producer(threading.Thread):
    """Stores a number of jobs, one by one and in batches.

    Args:
        storage: Where to.
        jobs: How many.
        duration_s: Over how many seconds; later when the database is slower.
        has_stalls: Whether workers stall, which needs jobs that are slow again.
        source: Chooses run times, failures, keys and batches.
        forking: How many of the jobs, about, fork a child.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        jobs: int,
        duration_s: float,
        has_stalls: bool,
        source: random.Random,
        forking: int = 0,
    ) -> None:
        super().__init__(name="producer", daemon=True)
        self.acks: list[Ack] = []
        self.error: Exception | None = None
        # Else it goes on at its pace, beyond the number of jobs.
        self.may_end = True
        # Time that is not made up for.
        self.lost_s = 0.0
        self.storage = storage
        self._total = jobs
        self._duration_s = duration_s
        self._has_stalls = has_stalls
        self._forking_share = forking / jobs
        self.random = source
        self._stopping = threading.Event()

    def run(self) -> None:
        """Store the jobs; an error is kept for whoever waits for the end."""
        try:
            self._produce()
        except Exception as error:  # noqa: BLE001  # raised again by finish()
            self.error = error

    def _produce(self) -> None:
        began_at = time.monotonic()
        jobs = self._jobs()
        while batch := list(islice(jobs, self.random.randint(1, LARGEST_BATCH))):
            due_s = self._duration_s * len(self.acks) / self._total
            due_at = began_at + self.lost_s + due_s
            if self._stopping.wait(max(due_at - time.monotonic(), 0.0)):
                return
            self.store(batch)

    def _jobs(self) -> Iterator[NewJob]:
        for number in count():
            if number >= self._total and self.may_end:
                return
            payload: dict[str, object] = {
                "number": number,
                "sleep_ms": self.random.randint(1, LONGEST_RUN_MS),
            }
            if number % JOBS_A_LONG_RUN == 0:
                payload["sleep_ms"] = LONG_RUN_MS
            if self.random.random() < self._forking_share:
                job = NewJob(FORKING_KIND, dump(payload), max_attempts=MAX_ATTEMPTS)
                yield job
                continue
            if self.random.random() < FAILING_SHARE:
                payload["fails_once"] = True
            elif self._has_stalls and self.random.random() < SLOW_AGAIN_SHARE:
                payload["again_ms"] = SLOW_AGAIN_MS
            key = None
            if self.random.random() < KEYED_SHARE:
                key = f"key-{self.random.randrange(1 + self._total // JOBS_A_KEY)}"
            yield NewJob(KIND, dump(payload), max_attempts=MAX_ATTEMPTS, dedupe_key=key)

    def store(self, batch: list[NewJob]) -> None:
        """Store jobs at once or one by one and keep the acks."""
        if self.random.random() < 0.5:
            results = self.storage.jobs.enqueue_many(batch)
            self.acks += map(as_ack, batch, results)
            return
        for job in batch:
            self.acks.append(as_ack(job, self.storage.jobs.enqueue(job)))

    def finish(self, limit_s: float) -> list[Ack]:
        """Wait for the last job and return the acks.

        Raises:
            TimeoutError: It took longer than ``limit_s`` seconds.
        """
        self.join(limit_s)
        if self.error is not None:
            raise self.error
        if self.is_alive():
            raise TimeoutError(f"only {len(self.acks)} of {self._total} jobs stored")
        return self.acks

    def stop(self) -> None:
        """Give up early."""
        self._stopping.set()


def as_ack(job: NewJob, result: EnqueueResult) -> Ack:
    """Return what the producer keeps of an answer."""
    return Ack(result.id, job.dedupe_key, result.is_deduped)


class Lookout(threading.Thread):
    """Looks ten times a second for what must not be there at any time."""

    PERIOD_S = 0.1

    def __init__(self, look: Callable[[], list[str]]) -> None:
        super().__init__(name="lookout", daemon=True)
        self.found: list[str] = []
        self._error: Exception | None = None
        self._look = look
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look until told to stop; an error is kept for whoever stops it."""
        try:
            while not self._stopping.wait(self.PERIOD_S):
                self.found += self._look()
        except Exception as error:  # noqa: BLE001  # raised again by stop()
            self._error = error

    def stop(self) -> None:
        """Stop and wait for the last look; raise what a look raised."""
        self._stopping.set()
        self.join()
        if self._error is not None:
            raise self._error
