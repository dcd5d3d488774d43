"""One trial: a fleet, an API and their producers, and a server that goes and comes."""

from __future__ import annotations

import contextlib
import math
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from flask_forge_jobs import NewJob
from flask_forge_jobs.model.payloads import dump
from tests.acceptance.application import KIND, LEDGER_VARIABLE, STARTED
from tests.acceptance.checker import SECOND_NS, table
from tests.acceptance.failover.answers import SteadyProducer, store_by_id
from tests.acceptance.failover.clients import HttpClient
from tests.acceptance.failover.outcome import Outcome
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.kill_workers import Driver, Plan
from tests.acceptance.ledger import Ack, Line
from tests.acceptance.serving import serving
from tests.support.cluster import Cluster, cluster
from tests.support.outages import Away
from tests.support.programs import Program
from tests.support.waiting import wait_until

PROCESSES = 3
JOBS_A_SECOND = 20
# Jobs are stored for so long beside the time without a server.
BEFORE_AND_AFTER_S = 16.0
# Of the API; its threads block while it waits for the database.
SERVER = ("--workers=2", "--worker-class=gthread", "--threads=4")
SERVER_PROCESSES = 2
CLIENTS = 2
# The waits for a start: of so many jobs, one every so many seconds.
MEASURED_JOBS = 30
MEASURE_EVERY_S = 0.1
# Until when after the return everything must be as before, and the last part of it, in
# which that is measured.
AS_BEFORE_AFTER_S = 5.0
MEASURE_S = MEASURED_JOBS * MEASURE_EVERY_S

Stored = list[tuple[str, int]]


class FailoverDriver(UnderFault):
    """Its producer takes down when it was answered."""

    producer_type = SteadyProducer


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to lose the server."""

    away: Away
    down_s: float
    lease_s: float

    @property
    def name(self) -> str:
        """What happens."""
        return f"{self.away.__name__} for {self.down_s:g} s"

    def run(self, folder: Path, seed: int) -> Outcome:
        """Return what was seen."""
        duration_s = BEFORE_AND_AFTER_S
        plan = Plan(
            jobs=int(JOBS_A_SECOND * duration_s), kills=0, stalls=0,
            processes=PROCESSES, seed=seed, lease_s=self.lease_s,
        )  # fmt: skip
        ledger = {LEDGER_VARIABLE: str(folder / "ledger")}
        with cluster() as server, serving(server.url, folder, *SERVER, **ledger) as api:
            scene = _Scene(self, server, api, random.Random(seed))
            driver = FailoverDriver(
                plan, server.url, folder, scene.inject, duration_s=duration_s
            )
            outcome = scene.look(driver)
        (folder / "api.log").write_text(api.text)
        return outcome


class _Scene:
    """What a trial does once all is there, and what it sees."""

    def __init__(
        self, trial: Trial, server: Cluster, api: Program, source: random.Random
    ) -> None:
        self._trial = trial
        self._server = server
        self._api = api
        self._random = source
        self._clients: list[HttpClient] = []
        self._before: Stored = []
        self._after: Stored = []
        self._returned_ns = 0
        self._outcome = Outcome(trial.name, trial.lease_s)

    def inject(self, driver: Driver) -> None:
        """Take the server away while everybody works, and look who comes back."""
        assert isinstance(driver, UnderFault)
        with self._asking(driver):
            self._before = _store_some(driver)
            api = children_of(self._api)
            with self._trial.away(self._server):
                threading.Event().wait(self._trial.down_s)
            self._returned_ns = time.monotonic_ns()
            self._outcome.workers_s = driver.probe()
            # Of whoever looks on; it may be one that takes no writes.
            driver.sql.end_session()
            _wait_until_ns(
                self._returned_ns + int((AS_BEFORE_AFTER_S - MEASURE_S) * SECOND_NS)
            )
            self._after = _store_some(driver)
            lives = [each.process.poll() is None for each in driver.fleet.workers]
            self._outcome.ended = lives.count(False) + len(api - children_of(self._api))

    @contextlib.contextmanager
    def _asking(self, driver: UnderFault) -> Iterator[None]:
        port = self._api.port()
        wait_until(
            lambda: len(children_of(self._api)) == SERVER_PROCESSES, "the API is there"
        )
        self._clients = [
            HttpClient(
                number, port, driver.storage, random.Random(self._random.random())
            )
            for number in range(1, CLIENTS + 1)
        ]
        for client in self._clients:
            client.start()
        # The first request of a process opens the database.
        wait_until(lambda: all(each.acks for each in self._clients), "the API answers")
        try:
            yield
        finally:
            for client in self._clients:
                client.finish()
                for ack in client.acks:
                    driver.note(ack)

    def look(self, driver: FailoverDriver) -> Outcome:
        """Run it and return what was seen."""
        outcome = self._outcome
        try:
            report = driver.run()
        except TimeoutError as error:
            outcome.complaints.append(str(error))
        else:
            if not report.is_sound:
                outcome.complaints.append(table(report.verdicts))
        self._count(driver)
        self._time(driver)
        for client in self._clients:
            outcome.complaints += client.complaints
        return outcome

    def _count(self, driver: FailoverDriver) -> None:
        outcome = self._outcome
        outcome.count(driver.evidence, driver.sql)
        told: Counter[str] = Counter()
        for client in self._clients:
            told += client.statuses
        outcome.answers = ", ".join(f"{n} {what}" for what, n in sorted(told.items()))

    def _time(self, driver: FailoverDriver) -> None:
        outcome, since_ns = self._outcome, self._returned_ns
        assert isinstance(driver.producer, SteadyProducer)
        outcome.producers_s = driver.producer.answers.back_s(since_ns)
        outcome.api_s = max(each.answers.back_s(since_ns) for each in self._clients)
        lines = driver.evidence.lines
        outcome.before_ms = _median_wait_ms(self._before, lines)
        outcome.after_ms = _median_wait_ms(self._after, lines)


def _store_some(driver: UnderFault) -> Stored:
    """Store jobs at a steady pace; return their ids and when each was asked for."""
    stored = []
    for _ in range(MEASURED_JOBS):
        began_ns = time.monotonic_ns()
        job = NewJob(KIND, dump({"number": 0, "sleep_ms": 1}))
        job_id = store_by_id(driver.storage, job).id
        driver.note(Ack(job_id))
        stored.append((job_id, began_ns))
        _wait_until_ns(began_ns + int(MEASURE_EVERY_S * SECOND_NS))
    return stored


def _median_wait_ms(stored: Stored, lines: list[Line]) -> float:
    started = {line.job_id: line.at_ns for line in lines if line.event == STARTED}
    waits_ns = [started.get(job_id, math.inf) - began for job_id, began in stored]
    return statistics.median(waits_ns) / 1e6 if waits_ns else math.inf


def children_of(program: Program) -> set[int]:
    """Return the processes that a program has started."""
    return {each.pid for each in psutil.Process(program.process.pid).children()}


def _wait_until_ns(at_ns: int) -> None:
    threading.Event().wait(max(at_ns - time.monotonic_ns(), 0) / SECOND_NS)
