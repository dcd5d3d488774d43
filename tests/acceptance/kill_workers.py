"""Kills and stalls random workers: nothing may be lost, or finished by a stranger.

A process that was killed can never finish late, so kills alone say nothing of the owner
fence. Stalls do: a worker is stopped for longer than its lease, others are given its
jobs, and then it goes on and reports outcomes of jobs that are no longer its own.

Some of the workers are families of ``--processes``: a child of one is killed, or its
parent, or the whole group, with SIGTERM to all before or without. Some tasks fork a
child that enqueues, and a producer forks children while a thread of it writes.

Run it with ``python -m tests.acceptance.kill_workers --backend both``; the long form
is ``--jobs 100000 --kills 300 --forks 300``. It prints its seed, its figures and the
table of invariants; the exit status is 1 when one is broken.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flask import Flask

from flask_forge_jobs import ForgeJobs, Storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import dump
from tests.acceptance import evidence as stored
from tests.acceptance.application import ENQUEUED, KIND, MAX_ATTEMPTS
from tests.acceptance.checker import SECOND_NS, Checker, Verdict, table
from tests.acceptance.driving import drive, numbers_of
from tests.acceptance.families import CHILDREN, families
from tests.acceptance.fleet import Fleet, started
from tests.acceptance.forking import ForkingProducer
from tests.acceptance.ledger import Ack, Evidence, Kill
from tests.acceptance.producer import Lookout, Producer
from tests.support.sql import Sql
from tests.support.waiting import wait_until

PAUSE_RANGE_S = (0.2, 1.5)
DRAIN_LIMIT_S = 300.0
# For how long a transaction may be left alone (I15).
IDLE_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run of the driver does.

    Args:
        jobs: Jobs to store; more when kills and stalls take longer than planned.
        kills: How often to kill.
        victims: Workers that each kill takes at once.
        stalls: How often to stop a worker for longer than its lease.
        processes: Workers that run at once.
        threads: Threads of each.
        seed: Of everything random here.
        lease_s: ``FORGE_JOBS_LEASE_S`` of the workers, in seconds.
        families: Parents with two worker processes each, beside the others.
        forks: How many tasks, about, fork a child that enqueues, and how many forks
            there are of a producer that writes.
    """

    jobs: int = 20_000
    kills: int = 50
    victims: int = 1
    stalls: int = 5
    processes: int = 4
    threads: int = 4
    seed: int = 0
    lease_s: float = 2.0
    families: int = 0
    forks: int = 0

    @property
    def drain_limit_s(self) -> float:
        """How long the last job may take to end, in seconds: 50 a second are few."""
        return DRAIN_LIMIT_S + self.jobs / 50

    @property
    def recovery_limit_s(self) -> float:
        """How long a dead worker's job may wait, in seconds (I12).

        Beyond the lease there are sweeps, a beat, and a busy machine. Only the time
        counts in which a worker that rescues it could watch the others.
        """
        return 1.5 * self.lease_s + 2.0

    @property
    def stall_s(self) -> float:
        """How long a stall lasts, in seconds: others surely notice."""
        return 1.5 * self.lease_s + 1.0

    def stalls_after(self, kill: int) -> int:
        """Return how many stalls follow the kill of this number, spread evenly."""
        done, next_done = (n * self.stalls // self.kills for n in (kill, kill + 1))
        return next_done - done


@dataclass(frozen=True, slots=True)
class Report:
    """Figures and verdicts of a run."""

    figures: dict[str, object]
    verdicts: list[Verdict]

    @property
    def is_sound(self) -> bool:
        """Whether every invariant holds."""
        return not any(verdict.violations for verdict in self.verdicts)

    def text(self) -> str:
        """Return figures and verdicts."""
        figures = "\n".join(f"{name}: {value}" for name, value in self.figures.items())
        return f"{figures}\n{table(self.verdicts)}"


class Driver:
    """One run against one empty database.

    ``worker_url`` is the way to the database that the workers take; the same by
    default.
    """

    def __init__(
        self,
        plan: Plan,
        database_url: str,
        folder: Path,
        *,
        worker_url: str | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.plan = plan
        self._settings = DatabaseSettings.from_url(database_url)
        self._url, self._folder = database_url, folder
        self._forked: list[Ack] = []
        self.sql = Sql(self._settings)
        app = Flask("observer")
        app.config["FORGE_JOBS_DATABASE_URL"] = database_url
        app.testing = True
        self._app = app
        self._forge = ForgeJobs(app)
        self.fleet = Fleet(
            worker_url or database_url,
            folder,
            self.sql,
            threads=plan.threads,
            lease_s=plan.lease_s,
            environ=environ,
        )
        self._random = random.Random(plan.seed)
        self._pauses_s = [
            self._random.uniform(*PAUSE_RANGE_S) for _ in range(plan.kills)
        ]

    def run(self) -> Report:
        """Do it."""
        began_at = time.monotonic()
        with self._app.app_context():
            storage = self._forge.storage
        storage.open()
        with (
            contextlib.closing(storage),
            started(self.fleet, self.plan.processes),
            families(self.fleet, self.sql, self.plan.families) as self.families,
        ):
            evidence = self._make_evidence(storage)
        return self._report(evidence, time.monotonic() - began_at)

    def _make_evidence(self, storage: Storage) -> Evidence:
        self.evidence = evidence = Evidence(recovery_limit_s=self.plan.recovery_limit_s)
        duplicates = Lookout(self.look_for_duplicates)
        idlers = Lookout(self.look_for_idlers)
        duplicates.start()
        idlers.start()
        try:
            evidence.acks += self.produce_and_kill(storage, evidence.kills)
            self._wait_for_quiet()
            evidence.acks.append(self._last_job(storage))
            self._wait_for_quiet()
            self._wait_until_the_dead_are_forgotten()
        finally:
            duplicates.stop()
            idlers.stop()
        evidence.duplicates_seen += duplicates.found
        evidence.leftovers += sorted(set(idlers.found))
        evidence.leftovers += self.families.stop() + self.fleet.stop()
        if not self.plan.stalls:
            evidence.leftovers += [
                f"worker {worker.name} gave up without a stall"
                for worker in self.fleet.replaced
            ]
        stored.complete(
            evidence, self.fleet, self.sql, self._settings, self._app.test_client()
        )
        return evidence

    def look_for_duplicates(self) -> list[str]:
        """Return the dedupe keys that two unfinished jobs have."""
        return stored.duplicate_keys(self.sql)

    def look_for_idlers(self) -> list[str]:
        """Return the sessions that leave a transaction alone for too long."""
        # One whose worker is stopped can do nothing about it.
        stopped_s = self.plan.stall_s if self.plan.stalls else 0.0
        return stored.idlers(self.sql, IDLE_LIMIT_S + stopped_s)

    def produce_and_kill(self, storage: Storage, kills: list[Kill]) -> list[Ack]:
        """Store the jobs while workers are killed; note the kills, return the acks."""
        duration_s = sum(self._pauses_s) + self.plan.stalls * self.plan.stall_s
        forking = ForkingProducer(
            self._url,
            self._folder,
            forks=self.plan.forks,
            duration_s=duration_s,
            seed=self.plan.seed,
        )
        producer = Producer(
            storage,
            jobs=self.plan.jobs,
            duration_s=duration_s,
            has_stalls=self.plan.stalls > 0,
            source=random.Random(self.plan.seed + 1),
            forking=self.plan.forks,
        )
        # However long they take, they must meet workers that have jobs.
        producer.may_end = False
        producer.start()
        try:
            for number, pause_s in enumerate(self._pauses_s):
                threading.Event().wait(pause_s)
                kills.extend(self._strike())
                kills.extend(
                    self.fleet.stall(self._random, self.plan.stall_s)
                    for _ in range(self.plan.stalls_after(number))
                )
            producer.may_end = True
            self._forked = forking.finish(self.plan.drain_limit_s)
            return producer.finish(self.plan.drain_limit_s) + self._forked
        finally:
            producer.stop()
            forking.stop()

    def _strike(self) -> list[Kill]:
        """Kill what comes next, and start others in its place."""
        alone, together = self.plan.processes, CHILDREN * self.plan.families
        if together and self._random.randrange(alone + together) >= alone:
            return self.families.hit(self._random)
        dead = self.fleet.kill(self._random, self.plan.victims)
        for _ in dead:
            self.fleet.start()
        return dead

    def _last_job(self, storage: Storage) -> Ack:
        """Store one more: the fleet still works, and stale sockets are noticed."""
        payload = dump({"number": self.plan.jobs, "sleep_ms": 1})
        job = NewJob(KIND, payload, max_attempts=MAX_ATTEMPTS)
        return Ack(storage.jobs.enqueue(job).id)

    def _wait_for_quiet(self) -> None:
        def have_ended() -> bool:
            self.fleet.replace_ended()
            return not self.sql.value(
                "SELECT COUNT(*) FROM forge_job WHERE completed_at IS NULL"
            )

        wait_until(have_ended, "every job has ended", self.plan.drain_limit_s)

    def _wait_until_the_dead_are_forgotten(self) -> None:
        def are_forgotten() -> bool:
            self.fleet.replace_ended()
            alive = {worker.name for worker in self.fleet.workers}
            alive |= self.families.names()
            rows = self.sql.run(
                "SELECT worker_name FROM forge_worker WHERE lost_at IS NULL"
            )
            return {name for (name,) in rows} == alive

        # What is still there then is found by the checker.
        with contextlib.suppress(TimeoutError):
            wait_until(are_forgotten, "no dead worker", 5 * self.plan.lease_s + 10)

    def _report(self, evidence: Evidence, elapsed_s: float) -> Report:
        checker = Checker(evidence)
        reaped = [row for row in evidence.rows if row.crashes]
        deaths = [kill for kill in evidence.kills if not kill.is_stall]
        stalls = [kill for kill in evidence.kills if kill.is_stall]
        figures: dict[str, object] = {
            "backend": self._settings.backend,
            **dataclasses.asdict(self.plan),
            "acknowledged": len(evidence.acks),
            "collapsed onto a key": sum(ack.is_deduped for ack in evidence.acks),
            "rows": evidence.counts["rows"],
            "runs": sum(line.event == "S" for line in evidence.lines),
            "extra runs": len(checker.extra_runs()),
            "deaths that hit claimed jobs": sum(bool(kill.held) for kill in deaths),
            "claimed jobs hit by deaths": sum(len(kill.held) for kill in deaths),
            "claimed jobs hit by stalls": sum(len(kill.held) for kill in stalls),
            "runs lost to leases that ran out": len(evidence.lapses),
            "late ends provoked": len(checker.late_ends()),
            "workers that asked to be replaced": len(self.fleet.replaced),
            "of them never stalled": sum(
                worker.process.pid not in {kill.pid for kill in stalls}
                for worker in self.fleet.replaced
            ),
            "hits on families": dict(self.families.hits),
            "jobs of the producer that forks": len(self._forked),
            "jobs of children of tasks": sum(
                line.event == ENQUEUED for line in evidence.lines
            ),
            "jobs given back": len(reaped),
            "slowest give-back": f"{_slowest_s(evidence):.1f} s",
            "elapsed": f"{elapsed_s:.0f} s",
        }
        return Report(figures, checker.check())


def _slowest_s(evidence: Evidence) -> float:
    killed_at = {run: kill.at_ns for kill in evidence.kills for run in kill.held}
    waits_ns = [
        failure.at_ns - killed_at[row.job_id, failure.attempt]
        for row in evidence.rows
        for failure in row.failures
        if failure.is_reaped and (row.job_id, failure.attempt) in killed_at
    ]
    return max(waits_ns, default=0) / SECOND_NS


def main() -> int:
    """Run the driver from the command line."""
    options = numbers_of(Plan) | {"families": 1, "forks": 50}
    return drive("kill-workers", __doc__, options, _run)


def _run(url: str, folder: Path, /, **options: Any) -> tuple[str, bool]:
    report = Driver(Plan(**options), url, folder).run()
    return report.text(), report.is_sound


if __name__ == "__main__":
    sys.exit(main())
