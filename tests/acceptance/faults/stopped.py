"""Group A: workers that are told to stop when they have just claimed."""

from __future__ import annotations

import signal
import threading
import time

from tests.acceptance.application import STARTED
from tests.acceptance.faults.fault import BOTH, Bench, Fault
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.outages import plan_of, require_sound
from tests.acceptance.fleet import STOP_LIMIT_S, Worker
from tests.acceptance.kill_workers import Driver
from tests.acceptance.ledger import Run
from tests.support.waiting import wait_until

# Of the matrix.
AFTER_CLAIM_RANGE_S = (0.0, 0.05)
# At a pace that leaves no worker without a job for long.
JOBS_A_STOP = 60
LOOK_PERIOD_S = 0.002


def stopped_after_a_claim(bench: Bench) -> str:
    """A8, one SIGTERM: what runs is finished, what has not begun is given back."""
    stops = bench.pick(3, 20, 200)
    stopping = _Stopping(bench, stops)
    driver = UnderFault(
        plan_of(bench, jobs=stops * JOBS_A_STOP),
        bench.url,
        bench.folder,
        stopping.inject,
        duration_s=stops,
    )
    report = driver.run()
    # Attempts that were spent on a stop would leave a job with more than its ends (I7).
    require_sound(report)
    assert report.figures["jobs given back"] == 0, report.text()
    return (
        f"{stops} stops up to 50 ms after a claim: {stopping.finished} jobs held then "
        f"were finished and {stopping.released} given back with their attempt, each "
        f"exit 0 within {stopping.slowest_s:.1f} s; "
        f"{report.figures['acknowledged']} jobs, 0 lost, 0 extra runs"
    )


class _Stopping:
    """Stops workers one after the other, and starts others in their place."""

    def __init__(self, bench: Bench, stops: int) -> None:
        self.finished = 0
        self.released = 0
        self.slowest_s = 0.0
        self._random = bench.random
        self._stops = stops

    def inject(self, driver: Driver) -> None:
        """Stop so many."""
        assert isinstance(driver, UnderFault)
        driver.producer.may_end = False
        for _ in range(self._stops):
            worker_id, worker = self._claims(driver)
            threading.Event().wait(self._random.uniform(*AFTER_CLAIM_RANGE_S))
            held = driver.fleet.held_by(worker_id)
            self._stop(driver, worker)
            left = driver.fleet.held_by(worker_id)
            assert not left, f"a worker that was stopped still holds {sorted(left)}"
            self._count(driver, worker_id, held)
            driver.fleet.start()
        driver.producer.may_end = True

    def _claims(self, driver: UnderFault) -> tuple[str, Worker]:
        """Wait until a random worker has claimed a job; return its id and itself."""
        fleet = driver.fleet
        while True:
            worker = self._random.choice(fleet.workers)
            rows = driver.sql.run(
                "SELECT worker_id FROM forge_worker "
                "WHERE worker_name = ? AND lost_at IS NULL",
                worker.name,
            )
            if rows:
                break
            threading.Event().wait(LOOK_PERIOD_S)
        worker_id = str(rows[0][0])
        before = fleet.held_by(worker_id)
        wait_until(
            lambda: bool(fleet.held_by(worker_id) - before),
            "a worker claims",
            period_s=LOOK_PERIOD_S,
        )
        return worker_id, worker

    def _stop(self, driver: UnderFault, worker: Worker) -> None:
        began_at = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        status = worker.process.wait(STOP_LIMIT_S)
        assert status == 0, f"worker {worker.name} ended with status {status}"
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_at)
        driver.fleet.workers.remove(worker)
        driver.fleet.note_end(worker, time.monotonic_ns())

    def _count(self, driver: UnderFault, worker_id: str, held: frozenset[Run]) -> None:
        """Tell by the ledger which of the jobs that it held it had begun."""
        ledger = driver.fleet.ledger.read_text("ascii")
        begun = sum(
            f"{STARTED} {job_id} {attempt} {worker_id}/" in ledger
            for job_id, attempt in held
        )
        self.finished += begun
        self.released += len(held) - begun


FAULTS: tuple[Fault, ...] = (
    Fault(
        "A8", "told to stop just after a claim", BOTH,
        "20 stops", stopped_after_a_claim,
        full="200 stops",
    ),
)  # fmt: skip
