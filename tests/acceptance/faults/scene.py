"""Real workers on a bench, with everything that the checker wants to know."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from flask import Flask

from flask_forge_jobs import ForgeJobs, NewJob, Storage
from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.payloads import dump
from tests.acceptance.application import KIND, STARTED
from tests.acceptance.checker import Checker, table
from tests.acceptance.evidence import complete
from tests.acceptance.faults.fault import Bench
from tests.acceptance.fleet import SETTLE_S, Fleet, Worker, started
from tests.acceptance.ledger import Ack, Evidence, Kill, Line, Run, read_ledger
from tests.support.client import PREFIX
from tests.support.jobs import QUEUE
from tests.support.waiting import wait_until

# For what a reaper needs beyond the lease, on a busy machine.
RECOVERY_SLACK_S = 3.0
# Twenty workers start at once, on a machine that may be busy.
START_LIMIT_S = 300.0
MAX_ATTEMPTS = 25
# Most workers of a queue that one process may have, in as many processes as needed.
MAX_WORKERS = 1_024
QUIET_LIMIT_S = 180.0
MAX_TRIES = 200
_OPEN = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND state LIKE 'idle in transaction%'"
)


class Scene:
    """A fleet at work, and the evidence of what it does; made by :func:`staged`."""

    def __init__(
        self, bench: Bench, storage: Storage, app: Flask, fleet: Fleet, lease_s: float
    ) -> None:
        self.bench = bench
        self.storage = storage
        self.fleet = fleet
        self.sql = bench.sql
        self.evidence = Evidence(recovery_limit_s=lease_s + RECOVERY_SLACK_S)
        self._app = app

    def start(self, count: int, *options: str, **environ: str) -> list[Worker]:
        """Start workers and wait until they are registered."""
        workers = [self.fleet.start(*options, **environ) for _ in range(count)]
        for worker in workers:
            self.wait_for(worker)
        return workers

    def wait_for(self, worker: Worker) -> None:
        """Wait until a worker is registered."""
        wait_until(
            lambda: self.host_of(worker) is not None,
            f"{worker.name} is there",
            START_LIMIT_S,
        )

    def host_of(self, worker: Worker) -> str | None:
        """Return under which name a worker owns jobs."""
        rows = self.sql.run(
            "SELECT worker_id FROM forge_worker "
            "WHERE worker_name = ? AND lost_at IS NULL",
            worker.name,
        )
        return rows[0][0] if rows else None

    def enqueue(
        self, payloads: Iterable[Mapping[str, object]], kind: str = KIND
    ) -> list[str]:
        """Store one job for each payload."""
        jobs = [
            NewJob(kind, dump(payload), max_attempts=MAX_ATTEMPTS)
            for payload in payloads
        ]
        ids = [each.id for each in self.storage.jobs.enqueue_many(jobs)]
        self.evidence.acks += [Ack(job_id) for job_id in ids]
        return ids

    def get(self, path: str) -> object:
        """Return what the API answers."""
        answer = self._app.test_client().get(f"{PREFIX}{path}")
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def lines(self) -> list[Line]:
        """Return the ledger so far."""
        return read_ledger(self.fleet.ledger)

    def starts(self) -> set[Run]:
        """Return the runs that have begun."""
        return {line.run for line in self.lines() if line.event == STARTED}

    def stop_short(self, worker: Worker) -> Kill:
        """Stop a worker where it keeps no lock, and note what it held."""
        worker_id = self.host_of(worker)
        for _ in range(MAX_TRIES):
            self.fleet.pause(worker)
            at_ns = time.monotonic_ns()
            if not self._is_within_a_transaction():
                break
            self.fleet.resume(worker)
        held = self.fleet.held_by(worker_id)
        return Kill(worker.process.pid, worker_id, at_ns, held)

    def _is_within_a_transaction(self) -> bool:
        """Whether a session of PostgreSQL stays open; those of others end at once."""
        if self.bench.backend == "sqlite":
            return False
        for _ in range(5):
            if not self.sql.value(_OPEN):
                return False
            threading.Event().wait(SETTLE_S / 5)
        return True

    def go_on(self, stops: Iterable[tuple[Worker, Kill]]) -> list[Kill]:
        """Let workers go on that were stopped short; keep the stalls as evidence."""
        stalls = []
        for worker, stop in stops:
            # A commit that was under way at the stop is visible by now.
            resumed = replace(stop, resumed_ns=time.monotonic_ns())
            self.fleet.resume(worker)
            stalls.append(resumed)
        self.evidence.kills += stalls
        return stalls

    def wait_for_quiet(self) -> None:
        """Wait until every job has ended; replace workers that ask for it."""

        def have_ended() -> bool:
            self.fleet.replace_ended()
            return not self.sql.value(
                "SELECT COUNT(*) FROM forge_job WHERE completed_at IS NULL"
            )

        wait_until(have_ended, "every job has ended", QUIET_LIMIT_S)

    def refused_runs(self) -> int:
        """Return how many runs ``/metrics`` shows that had lost their jobs."""
        totals = self.storage.metrics.counters().jobs.values()
        return sum(each.refused for each in totals)

    def check(self) -> Checker:
        """Stop the fleet and return the checker; every invariant holds.

        Raises:
            AssertionError: One does not, or a program complained.
        """
        self.evidence.leftovers += self.fleet.stop()
        client = self._app.test_client()
        complete(self.evidence, self.fleet, self.sql, self.bench.settings, client)
        checker = Checker(self.evidence)
        verdicts = checker.check()
        broken = [verdict for verdict in verdicts if verdict.violations]
        names = ", ".join(verdict.name for verdict in broken)
        assert not broken, f"broken: {names}\n{table(verdicts)}"
        return checker


@contextlib.contextmanager
def staged(
    bench: Bench, *, threads: int, lease_s: float, clock: Clock | None = None
) -> Iterator[Scene]:
    """Open the stores and have a fleet ready; every process is gone afterwards.

    Args:
        bench: The bench.
        threads: Most jobs at once in each worker that says nothing else.
        lease_s: ``FORGE_JOBS_LEASE_S``.
        clock: Of the producer; the system's by default.
    """
    app = Flask("observer")
    app.config["FORGE_JOBS_DATABASE_URL"] = bench.url
    app.testing = True
    forge = ForgeJobs(app, clock=clock)
    with app.app_context():
        storage = forge.storage
    fleet = Fleet(bench.url, bench.folder, bench.sql, threads=threads, lease_s=lease_s)
    with contextlib.closing(storage), started(fleet, 0):
        storage.open()
        storage.queues.ensure(QUEUE, MAX_WORKERS)
        yield Scene(bench, storage, app, fleet, lease_s)
