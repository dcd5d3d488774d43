"""Kills workers and restarts the server while batches run: each one ends exactly once.

A round is a batch whose jobs note their runs in a ledger, with a job at its end. While
it runs, two workers are killed with SIGKILL, and the server of PostgreSQL is stopped as
after a power cut and started again; on SQLite all workers are killed at once instead.

Run it with ``python -m tests.acceptance.batch_kills --backend both``; the long form is
``--rounds 20 --jobs 10000``. It prints its seed and its figures. The exit status is 1
if a job did not end once, if a completion was not stored once and after the last job,
if counts differ from rows, or if a completion came later than it may.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.model.batches import Batch, BatchEvent, NewBatch
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.acceptance.application import (
    BATCH_ENDED_KIND,
    MAX_ATTEMPTS,
    PART_KIND,
    STARTED,
)
from tests.acceptance.driving import drive, numbers_of
from tests.acceptance.fleet import Fleet, started
from tests.support.cluster import Cluster, cluster
from tests.support.outages import stopped
from tests.support.sql import Sql
from tests.support.waiting import wait_until

# The last job of a batch to its completion, also after a kill.
TAIL_LIMIT_S = 3.0
ROUND_LIMIT_S = 600.0
ENDED = FollowUp(BATCH_ENDED_KIND, "ended", "default", -100, MAX_ATTEMPTS)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run of the driver does.

    Args:
        rounds: Batches, one after the other.
        jobs: Jobs of each.
        processes: Workers that run at once.
        threads: Threads of each.
        lease_s: ``FORGE_JOBS_LEASE_S`` of the workers, in seconds.
        seed: Of the moments of the kills.
    """

    rounds: int = 3
    jobs: int = 2_000
    processes: int = 3
    threads: int = 4
    lease_s: float = 3.0
    seed: int = 0


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        faults: Everything that did not hold.
        tails_s: From the last end of a job of a batch to its completion, by round.
        runs: Runs of jobs that the ledger has.
        kills: Workers that were killed.
        restarts: Restarts of the server, or of all workers.
    """

    faults: list[str] = field(default_factory=list)
    tails_s: list[float] = field(default_factory=list)
    rounds_s: list[float] = field(default_factory=list)
    runs: int = 0
    kills: int = 0
    restarts: int = 0

    def text(self, plan: Plan) -> str:
        """Return figures and faults."""
        tails = sorted(self.tails_s) or [0.0]
        usual_ms, worst_ms = statistics.median(tails) * 1e3, tails[-1] * 1e3
        round_s = statistics.median(self.rounds_s or [0.0])
        shown = [
            f"{len(self.tails_s)} rounds of {plan.jobs} jobs, {round_s:.1f} s each",
            f"{self.kills} kills, {self.restarts} restarts, {self.runs} runs of jobs",
            f"last job to completion: median {usual_ms:.0f}, worst {worst_ms:.0f} ms",
            *(f"BROKEN: {each}" for each in self.faults[:20]),
        ]
        return "\n".join(shown)


class Driver:
    """Runs rounds on one database.

    ``server`` is that of PostgreSQL, to be restarted; None on SQLite.
    """

    def __init__(
        self, plan: Plan, url: str, folder: Path, server: Cluster | None = None
    ) -> None:
        self._plan = plan
        self._url = url
        self._settings = DatabaseSettings.from_url(url)
        self._folder = folder
        self._server = server
        self._source = random.Random(plan.seed)
        self._completions: dict[str, str] = {}
        # When the server was back after its last restart; nothing starts before.
        self._back_us = 0
        self.report = Report()

    def run(self) -> Report:
        """Run all rounds."""
        plan = self._plan
        with contextlib.closing(open_storage(self._settings)) as storage:
            storage.open()
            fleet = Fleet(
                self._url,
                self._folder,
                Sql(self._settings),
                threads=plan.threads,
                lease_s=plan.lease_s,
            )
            with started(fleet, plan.processes):
                for _ in range(plan.rounds):
                    self._round(storage, fleet)
                # One that has just been started does not know yet how to stop.
                fleet.stop()
            self._check_ledger(fleet.ledger)
        return self.report

    def _round(self, storage: Storage, fleet: Fleet) -> None:
        began = time.monotonic()
        jobs = [NewJob(PART_KIND, max_attempts=MAX_ATTEMPTS)] * self._plan.jobs
        new = NewBatch("round", follow_ups={BatchEvent.SUCCESS: ENDED})
        batch_id = storage.batches.create(new, jobs).id
        # One moment may be that of the last jobs.
        for place, act in sorted(
            (self._source.uniform(0.05, 1.0), act)
            for act in ("kill", "kill", "restart")
        ):
            self._wait(storage, fleet, batch_id, int(place * self._plan.jobs))
            if act == "kill":
                self._kill(fleet)
            else:
                self._restart(fleet)
        self._wait(storage, fleet, batch_id, self._plan.jobs)
        self._check(storage, batch_id)
        self.report.rounds_s.append(time.monotonic() - began)

    def _kill(self, fleet: Fleet) -> None:
        victim = self._source.choice(fleet.workers)
        victim.process.kill()
        victim.process.wait()
        fleet.workers.remove(victim)
        fleet.start()
        self.report.kills += 1

    def _restart(self, fleet: Fleet) -> None:
        self.report.restarts += 1
        if self._server is not None:
            with stopped(self._server):
                pass
            self._back_us = time.time_ns() // 1000
            return
        for worker in fleet.workers:
            worker.process.kill()
        for worker in list(fleet.workers):
            worker.process.wait()
            fleet.workers.remove(worker)
            fleet.start()

    @staticmethod
    def _wait(storage: Storage, fleet: Fleet, batch_id: str, done: int) -> None:
        def is_there() -> bool:
            # A worker that starts while the server is away ends, and is started again.
            fleet.replace_ended()
            fleet.complaints.clear()
            batch = _read(storage, batch_id)
            return batch is not None and batch.done >= done

        wait_until(is_there, f"{done} jobs are done", ROUND_LIMIT_S)

    def _check(self, storage: Storage, batch_id: str) -> None:
        """Check a batch all of whose jobs are done."""
        sql = Sql(self._settings)

        def has_told() -> bool:
            rows = sql.run(
                "SELECT 1 FROM forge_job WHERE kind = ? AND payload LIKE ?"
                " AND status = 'done'",
                BATCH_ENDED_KIND,
                f"%{batch_id}%",
            )
            return bool(rows)

        with contextlib.suppress(AssertionError):
            wait_until(has_told, "the completion is done", 30.0)
        completions = sql.run(
            "SELECT id, started_at, status FROM forge_job"
            " WHERE kind = ? AND payload LIKE ?",
            BATCH_ENDED_KIND,
            f"%{batch_id}%",
        )
        states = dict(
            sql.run(
                "SELECT status, COUNT(*) FROM forge_job WHERE batch_id = ?"
                " GROUP BY status",
                batch_id,
            )
        )
        last_us = sql.value(
            "SELECT MAX(completed_at) FROM forge_job WHERE batch_id = ?", batch_id
        )
        batch = storage.batches.get(batch_id)
        found = batch.total, batch.done, batch.dead, batch.removed, states
        count = self._plan.jobs
        if found != (count, count, 0, 0, {"done": count}):
            self.report.faults.append(f"{batch_id}: counts and rows are {found}")
        if batch.completed_at is None or len(completions) != 1:
            self.report.faults.append(f"{batch_id}: completions are {completions}")
        since_us = max(last_us, self._back_us)
        for job_id, started_us, _ in completions:
            self._completions[job_id] = batch_id
            self.report.tails_s.append(max((started_us or 0) - since_us, 0) / 1e6)
            if self.report.tails_s[-1] > TAIL_LIMIT_S:
                late_s = self.report.tails_s[-1]
                self.report.faults.append(f"{batch_id}: told of {late_s:.1f} s later")

    def _check_ledger(self, path: Path) -> None:
        """Check that each job has run to its end, and before its batch was told of.

        By the clock of the ledger: transactions of SQLite take the time before they
        wait for the lock, so the times of two of them may have another order.
        """
        began: dict[str, int] = {}
        ended: dict[str, int] = {}
        for line in path.read_text("ascii").splitlines():
            event, job_id, *_, at_ns = line.split()
            (began if event == STARTED else ended).setdefault(job_id, int(at_ns))
            self.report.runs += event == STARTED
        sql = Sql(self._settings)
        last_ns: dict[str, int] = {}
        for job_id, batch_id in sql.run(
            "SELECT id, batch_id FROM forge_job WHERE kind = ?", PART_KIND
        ):
            if job_id not in ended:
                self.report.faults.append(f"{job_id} is done and has not run")
            last_ns[batch_id] = max(last_ns.get(batch_id, 0), ended.get(job_id, 0))
        for job_id, batch_id in self._completions.items():
            if began.get(job_id, 0) < last_ns[batch_id]:
                self.report.faults.append(f"{batch_id}: was told of before its end")


def _read(storage: Storage, batch_id: str) -> Batch | None:
    """Return a batch, or None while the database is away."""
    try:
        return storage.batches.get(batch_id)
    except StorageError:
        return None


@contextlib.contextmanager
def database_for(url: str) -> Iterator[tuple[str, Cluster | None]]:
    """Yield the database: on PostgreSQL, that of a server of one's own."""
    if url.startswith("sqlite"):
        yield url, None
        return
    with cluster() as server:
        yield server.url, server


def run(url: str, folder: Path, **options: int) -> tuple[str, bool]:
    """Run the driver once; return the report, and whether everything held."""
    plan = Plan(**options)
    with database_for(url) as (own_url, server):
        report = Driver(plan, own_url, folder, server).run()
    return report.text(plan), not report.faults


if __name__ == "__main__":
    sys.exit(drive("batch-kills", __doc__, numbers_of(Plan), run))
