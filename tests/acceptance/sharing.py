"""Lets worker processes join, leave and be killed: the shares must follow in time.

Queues with 1, 3 and 10 workers are served by three processes, and again and again one
is started, asked to stop, killed, or stopped with SIGSTOP and let go on. After each
event the slots that the registry shows must be the shares of those that are there,
within ten seconds.

Run it with ``python -m tests.acceptance.sharing --backend both``. The exit status is 1
when the shares came too late, or a program complained.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flask_forge_jobs import Storage, open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from tests.acceptance.driving import drive
from tests.acceptance.fleet import Fleet, Worker, started
from tests.support.sql import Sql

TOTALS = {"one": 1, "three": 3, "ten": 10}
PROCESSES = 3
# More than any share, so that a process shows all of it.
THREADS = 16
LIMIT_S = 10.0
START_LIMIT_S = 60.0
LOOK_PERIOD_S = 0.1
EVENTS = ("joined", "left", "was killed", "was stopped", "went on")


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, how many processes were there then, and when the shares fit.

    ``took_s`` is None when they did not within a minute.
    """

    name: str
    processes: int
    took_s: float | None

    @property
    def is_met(self) -> bool:
        """Whether the shares followed in time."""
        return self.took_s is not None and self.took_s <= LIMIT_S


def expected(processes: int) -> dict[str, list[int]]:
    """Return the shares of each queue over so many processes, the largest first."""
    found = {}
    for name, total in TOTALS.items():
        quotient, remainder = divmod(total, processes)
        found[name] = [quotient + (place < remainder) for place in range(processes)]
    return found


class Driver:
    """One run against one empty database."""

    def __init__(self, rounds: int, seed: int, database_url: str, folder: Path) -> None:
        self._rounds = rounds
        self._settings = DatabaseSettings.from_url(database_url)
        self._sql = Sql(self._settings)
        self._fleet = Fleet(
            database_url, folder, self._sql, threads=THREADS, lease_s=60.0
        )
        self._random = random.Random(seed)
        self._there: list[Worker] = []
        self.events: list[Event] = []
        self.complaints: list[str] = []

    def run(self) -> bool:
        """Do it; return whether everything was in time."""
        with (
            contextlib.closing(open_storage(self._settings)) as storage,
            started(self._fleet, 0),
        ):
            self._register(storage)
            for _ in range(PROCESSES):
                self._join()
            for _ in range(self._rounds):
                self._round()
            self.complaints += self._fleet.stop()
        return not self.complaints and all(event.is_met for event in self.events)

    def _register(self, storage: Storage) -> None:
        storage.open()
        for name, total in TOTALS.items():
            storage.queues.ensure(name, total)

    def _round(self) -> None:
        self._leave()
        self._join()
        self._kill()
        self._join()
        self._stop_and_go_on()

    def _join(self) -> None:
        worker = self._fleet.start("--queues", ",".join(TOTALS))
        # It is there when it is in the registry; how long Python takes to get so far
        # is another matter.
        if not self._wait(lambda: self._is_registered(worker), START_LIMIT_S):
            self.complaints.append(f"worker {worker.name} did not register")
        self._there.append(worker)
        self._note("joined")

    def _leave(self) -> None:
        worker = self._take_one()
        worker.process.terminate()
        if worker.process.wait(START_LIMIT_S) != 0:
            self.complaints.append(f"worker {worker.name} did not end well")
        self._fleet.workers.remove(worker)
        self._note("left")

    def _kill(self) -> None:
        worker = self._take_one()
        worker.process.kill()
        worker.process.wait()
        self._fleet.workers.remove(worker)
        self._note("was killed")

    def _stop_and_go_on(self) -> None:
        worker = self._take_one()
        self._fleet.pause(worker)
        try:
            self._note("was stopped")
        finally:
            self._fleet.resume(worker)
        self._there.append(worker)
        self._note("went on")

    def _take_one(self) -> Worker:
        worker = self._random.choice(self._there)
        self._there.remove(worker)
        return worker

    def _note(self, name: str) -> None:
        began_at = time.monotonic()
        fits = self._wait(lambda: self._shown() == expected(len(self._there)), 60.0)
        took_s = time.monotonic() - began_at
        self.events.append(Event(name, len(self._there), took_s if fits else None))

    def _wait(self, holds: Callable[[], bool], limit_s: float) -> bool:
        pause, ends_at = threading.Event(), time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > ends_at:
                return False
            pause.wait(LOOK_PERIOD_S)
        return True

    def _is_registered(self, worker: Worker) -> bool:
        return bool(
            self._sql.run(
                "SELECT 1 FROM forge_worker WHERE worker_name = ? AND lost_at IS NULL",
                worker.name,
            )
        )

    def _shown(self) -> Mapping[str, list[int]]:
        """Return how many slots those that are there show, the most first."""
        names = {worker.name for worker in self._there}
        rows = self._sql.run(
            "SELECT forge_worker.worker_name, forge_slot.queue_name, COUNT(*) "
            "FROM forge_slot "
            "INNER JOIN forge_worker ON forge_worker.worker_id = forge_slot.worker_id "
            "GROUP BY forge_worker.worker_name, forge_slot.queue_name"
        )
        counted = {(worker, queue): int(count) for worker, queue, count in rows}
        return {
            queue: sorted((counted.get((n, queue), 0) for n in names), reverse=True)
            for queue in TOTALS
        }

    def text(self) -> str:
        """Return a table of the events."""
        lines = [f"{'event':<12} {'times':>5} {'in time':>7} {'slowest':>8}"]
        for name in EVENTS:
            events = [event for event in self.events if event.name == name]
            slowest = max(
                (60.0 if each.took_s is None else each.took_s for each in events),
                default=0.0,
            )
            in_time = sum(event.is_met for event in events)
            lines.append(f"{name:<12} {len(events):>5} {in_time:>7} {slowest:>6.1f} s")
        return "\n".join([*lines, *self.complaints])


def main() -> int:
    """Run the driver from the command line."""
    return drive("sharing", __doc__, {"rounds": 10, "seed": None}, _run)


def _run(url: str, folder: Path, /, *, rounds: int, seed: int) -> tuple[str, bool]:
    driver = Driver(rounds, seed, url, folder)
    holds = driver.run()
    return driver.text(), holds


if __name__ == "__main__":
    sys.exit(main())
