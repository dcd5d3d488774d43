"""Lets many processes share a budget, and kills processes that hold permits.

The first part: workers spend a token bucket for a while with more jobs than it has
tokens. No window of the ledger may hold more than the budget, and nearly all of the
budget must be used.

The second part: a task of which two jobs may run at once for each account is worked off
while worker processes are killed and replaced. There must never be three at once, and
when the last kill is overcome both permits of every account must be in use again.

Run it with ``python -m tests.acceptance.limiting --backend both``: 8 processes, 60 s,
then 50 kills. The exit status is 1 when a limit was exceeded, a permit leaked, less
than 95 % of the budget was used, or a program complained.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flask_forge_jobs import NewJob, Storage, open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from tests.acceptance.application import BUCKET, LIMITED_KIND, METERED_KIND, PERMITS
from tests.acceptance.driving import drive
from tests.acceptance.fleet import Fleet, started
from tests.acceptance.ledger import Kill, read_ledger
from tests.acceptance.limit_checks import (
    excess,
    grants,
    most_at_once,
    sittings,
    used_share,
)
from tests.support.sql import Sql
from tests.support.waiting import wait_until

PROCESSES = 8
THREADS = 4
PER_SECOND = 50.0
CAPACITY = 50
LEAST_SHARE = 0.95
LEASE_S = 3.0
# After which the jobs of a killed process have surely been given back.
RECOVERY_S = 8.0
ACCOUNTS = 5
SLEEP_MS = 100
# So many jobs wait while processes are killed.
BACKLOG = 100
QUIET_LIMIT_S = 180.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much one run does.

    Args:
        processes: Worker processes.
        seconds: For how long the budget is spent.
        kills: How many processes are killed.
        between_s: Seconds between two kills, about, once all workers have started.
    """

    processes: int
    seconds: float
    kills: int
    between_s: float


FULL = Size(PROCESSES, 60.0, 50, 1.0)


class Driver:
    """One run against one empty database."""

    def __init__(self, size: Size, seed: int, database_url: str, folder: Path) -> None:
        self._size = size
        self._random = random.Random(seed)
        self._settings = DatabaseSettings.from_url(database_url)
        self._sql = Sql(self._settings)
        self._url = database_url
        self._folder = folder
        self.complaints: list[str] = []
        self.figures: dict[str, object] = {}

    def spend(self) -> float:
        """Do the first part; return which share of the budget was used."""
        size = self._size
        with self._working("spend") as (storage, fleet):
            storage.rate_limits.put(BUCKET, CAPACITY, PER_SECOND)
            jobs = int(CAPACITY + PER_SECOND * size.seconds)
            storage.jobs.enqueue_many([NewJob(METERED_KIND)] * jobs)
            for _ in range(size.processes):
                fleet.start()
            self._wait_until_done(size.seconds + QUIET_LIMIT_S)
            self.complaints += fleet.stop()
            lines = read_ledger(fleet.ledger)
        tokens = grants(lines)
        if len(tokens) != jobs:
            self.complaints.append(f"{jobs} jobs got {len(tokens)} tokens")
        over = excess(tokens, CAPACITY, PER_SECOND)
        if over > 0:
            self.complaints.append(f"a window exceeds its budget by {over:.2f} tokens")
        share = used_share(tokens, CAPACITY, PER_SECOND)
        self.figures |= {
            "tokens": len(tokens),
            "fullest window, tokens over budget": round(over, 2),
            "share of the budget used": f"{share:.1%}",
            "runs for each token": round(
                sum(line.event == "A" for line in lines) / jobs, 2
            ),
        }
        return share

    def kill(self) -> None:
        """Do the second part."""
        size = self._size
        permit_of: dict[str, int] = {}
        kills: list[Kill] = []
        with self._working("kill") as (storage, fleet):
            for _ in range(size.processes):
                fleet.start()
            self._fill(storage, permit_of)
            for _ in range(size.kills):
                self._wait_for_the_fleet(fleet)
                self._fill(storage, permit_of)
                # While they work at it: later nobody would sit anywhere.
                threading.Event().wait(self._random.uniform(0.1, 0.6) * size.between_s)
                kills += fleet.kill(self._random)
                fleet.start()
            # From here on every permit must be there again.
            threading.Event().wait(RECOVERY_S)
            recovered_ns = time.monotonic_ns()
            self._fill(storage, permit_of)
            self._wait_until_done(QUIET_LIMIT_S)
            self.complaints += fleet.stop()
            lines = read_ledger(fleet.ledger)
        held, unexplained = sittings(lines, kills, permit_of)
        self.complaints += unexplained
        at_once = most_at_once(held)
        later = most_at_once(held, recovered_ns)
        for account in range(ACCOUNTS):
            if at_once.get(account, 0) > PERMITS:
                self.complaints.append(f"account {account}: {at_once[account]} at once")
            if later.get(account, 0) < PERMITS:
                self.complaints.append(f"account {account} has lost a permit")
        self.figures |= {
            "kills": len(kills),
            "kills that held permits": sum(bool(kill.held) for kill in kills),
            "runs": len(held),
            "most at once for one account": max(at_once.values()),
            "after the last kill": sorted(later.values()),
        }

    def _wait_for_the_fleet(self, fleet: Fleet) -> None:
        """Wait for those that were just started: they hold no permits yet."""

        def are_there() -> bool:
            fleet.replace_ended()  # a busy machine may starve a heartbeat
            rows = self._sql.run(
                "SELECT worker_name FROM forge_worker WHERE lost_at IS NULL"
            )
            return {worker.name for worker in fleet.workers} <= {n for (n,) in rows}

        wait_until(are_there, "every worker is registered")

    @contextlib.contextmanager
    def _working(self, part: str) -> Iterator[tuple[Storage, Fleet]]:
        folder = self._folder / part
        folder.mkdir()
        fleet = Fleet(self._url, folder, self._sql, threads=THREADS, lease_s=LEASE_S)
        with (
            contextlib.closing(open_storage(self._settings)) as storage,
            started(fleet, 0),
        ):
            storage.open()
            yield storage, fleet

    def _fill(self, storage: Storage, permit_of: dict[str, int]) -> None:
        """Keep enough jobs of every account waiting."""
        missing = BACKLOG - storage.queues.waiting(["default"])["default"]
        accounts = [number % ACCOUNTS for number in range(max(missing, ACCOUNTS * 4))]
        jobs = [
            NewJob(LIMITED_KIND, f'{{"account":{account},"sleep_ms":{SLEEP_MS}}}')
            for account in accounts
        ]
        results = storage.jobs.enqueue_many(jobs)
        ids = [result.id for result in results]
        permit_of.update(zip(ids, accounts, strict=True))

    def _wait_until_done(self, limit_s: float) -> None:
        unfinished = (
            "SELECT COUNT(*) FROM forge_job "
            "WHERE status IN ('pending', 'in_progress', 'failed')"
        )
        wait_until(lambda: self._sql.value(unfinished) == 0, "all is done", limit_s)

    def text(self) -> str:
        """Return the figures, and what went wrong."""
        lines = [f"{name:<36} {value}" for name, value in self.figures.items()]
        return "\n".join([*lines, *self.complaints])


def main() -> int:
    """Run the driver from the command line."""
    return drive("limiting", __doc__, {"seed": None}, _run)


def _run(url: str, folder: Path, /, *, seed: int) -> tuple[str, bool]:
    driver = Driver(FULL, seed, url, folder)
    share = driver.spend()
    driver.kill()
    return driver.text(), share >= LEAST_SHARE and not driver.complaints


if __name__ == "__main__":
    sys.exit(main())
