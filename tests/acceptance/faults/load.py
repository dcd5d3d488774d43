"""Jobs that are stored and run by real processes while something goes wrong.

It is the kill driver with another fault: nobody is killed, so no run may be repeated
and no job given back, whatever happens between the processes and the server.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import psycopg2

from flask_forge_jobs import EnqueueResult, NewJob, Storage
from flask_forge_jobs.errors import StorageBusyError, StorageUnavailableError
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.request_keys import RequestKey
from tests.acceptance.application import KIND, STARTED
from tests.acceptance.kill_workers import DRAIN_LIMIT_S, Driver, Plan
from tests.acceptance.ledger import Ack, Kill
from tests.acceptance.producer import Producer, as_ack
from tests.support.threads import run_together
from tests.support.waiting import wait_until

# After which somebody who got no answer asks again.
ASK_AGAIN_RANGE_S = (0.05, 0.3)
Inject = Callable[[Driver], None]


class PersistentProducer(Producer):
    """Asks again until it gets an answer, with the same request key.

    What it asked for in vain may have been stored or not; the key makes it one.
    """

    unclear = 0
    _caller = ""

    def store(self, batch: list[NewJob]) -> None:
        """Store jobs at once or one by one, whatever it takes."""
        # Another producer's keys are its own.
        self._caller = self._caller or f"producer-{self.random.getrandbits(64):x}"
        groups = [batch] if self.random.random() < 0.5 else [[job] for job in batch]
        for group in groups:
            key = RequestKey(self._caller, f"batch-{len(self.acks)}", "enqueue")
            self.acks += map(as_ack, group, self.insist(group, key))

    def insist(self, jobs: list[NewJob], key: RequestKey) -> list[EnqueueResult]:
        """Ask until there is an answer."""
        while True:
            try:
                return self.ask(jobs, key)
            except (StorageUnavailableError, StorageBusyError):
                self.unclear += 1
                threading.Event().wait(self.random.uniform(*ASK_AGAIN_RANGE_S))

    def ask(self, jobs: list[NewJob], key: RequestKey) -> list[EnqueueResult]:
        """Ask once."""
        return self.storage.jobs.enqueue_many(jobs, key)


class UnderFault(Driver):
    """Runs a fleet under load while a fault is injected.

    Args:
        plan: Jobs, processes, threads, lease and seed; kills and stalls are not used.
        database_url: The way to the database of whoever looks on.
        folder: For the ledger and the log.
        inject: Does what goes wrong; it begins once all workers are there and jobs run.
        duration_s: Over how many seconds the jobs are stored.
        worker_url: The way of the workers and, by ``storage``, of the producer.
        storage: What the producer stores with; the driver's own by default.
        environ: Further variables of the workers.
    """

    producer_type = PersistentProducer

    def __init__(
        self,
        plan: Plan,
        database_url: str,
        folder: Path,
        inject: Inject,
        *,
        duration_s: float,
        worker_url: str | None = None,
        storage: Storage | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(
            plan, database_url, folder, worker_url=worker_url, environ=environ
        )
        self.unclear = 0
        self._probes: list[Ack] = []
        self._inject = inject
        self._duration_s = duration_s
        self._producing = storage

    def look_for_duplicates(self) -> list[str]:
        """Return the dedupe keys that are there twice; nothing without a server."""
        try:
            return super().look_for_duplicates()
        except psycopg2.Error:
            return []

    def look_for_idlers(self) -> list[str]:
        """Return nothing: a session that was cut off ends when the server notices."""
        return []

    def produce_and_kill(self, storage: Storage, kills: list[Kill]) -> list[Ack]:
        """Store the jobs while the fault is injected."""
        del kills
        self.storage = storage
        producer = self.producer_type(
            self._producing or storage,
            jobs=self.plan.jobs,
            duration_s=self._duration_s,
            has_stalls=False,
            source=random.Random(self.plan.seed + 1),
        )
        producer.start()
        self.producer = producer
        try:
            # One that starts without a server says so and ends, as it should.
            wait_until(
                lambda: self.count_workers() == self.plan.processes,
                "all have started",
                DRAIN_LIMIT_S,
            )
            wait_until(
                lambda: self.count_lines() > 0 or producer.error is not None,
                "jobs run",
                DRAIN_LIMIT_S,
            )
            self._inject(self)
            return producer.finish(DRAIN_LIMIT_S) + self._probes
        finally:
            producer.stop()
            self.unclear = producer.unclear

    def note(self, ack: Ack) -> None:
        """Take in a job that somebody else has stored."""
        self._probes.append(ack)

    def probe(self) -> float:
        """Store one more job; return the seconds until a worker starts it."""
        job = NewJob(KIND, dump({"number": 0, "sleep_ms": 1}))
        key = RequestKey("probe", f"probe-{len(self._probes)}-{self.plan.seed}", "ask")
        began_at = time.monotonic()
        (stored,) = self.producer.insist([job], key)
        self._probes.append(Ack(stored.id))
        wanted = f"{STARTED} {stored.id} ".encode()
        pause = threading.Event()
        while wanted not in self.fleet.ledger.read_bytes():
            if time.monotonic() > began_at + DRAIN_LIMIT_S:
                raise TimeoutError("nobody starts the job")
            pause.wait(0.01)
        return time.monotonic() - began_at

    def store_plainly(self, count: int, threads: int, *, sleep_ms: int = 1) -> None:
        """Store jobs one by one, from several threads, without a request key."""

        def store() -> None:
            for _ in range(count // threads):
                job = NewJob(KIND, dump({"number": 0, "sleep_ms": sleep_ms}))
                self._probes.append(Ack(self.storage.jobs.enqueue(job).id))

        run_together([store] * threads)

    def wait_for_quiet(self) -> None:
        """Wait until the producer has stored all and every job has ended."""
        wait_until(
            lambda: (
                not self.producer.is_alive()
                and not self.sql.value(
                    "SELECT COUNT(*) FROM forge_job WHERE completed_at IS NULL"
                )
            ),
            "every job has ended",
            DRAIN_LIMIT_S,
        )

    def count_workers(self) -> int:
        """Return how many workers have said that they are there."""
        return int(
            self.sql.value("SELECT COUNT(*) FROM forge_worker WHERE lost_at IS NULL")
        )

    def count_lines(self) -> int:
        """Return how much is written in the ledger."""
        try:
            return self.fleet.ledger.read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0
