"""Takes a PostgreSQL server away under load and gives it back.

It is stopped, killed, frozen, replaced for a while by one that takes no writes, or
waits for a standby that is lost, with a long lease and a short one. Jobs are stored and
run all the time: none may be lost or run twice, no worker process may end, and a job
that is stored when the server is back must start within two seconds.

Run it with ``python -m tests.acceptance.failover``; ``--frozen-s 60`` makes it longer.
The exit status is 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.acceptance.faults.cluster import DATABASE, Cluster, cluster
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.kill_workers import Driver, Plan

BACK_WITHIN_S = 2.0
PROCESSES = 3
JOBS_A_SECOND = 20
# Jobs are stored for so long beside the time without a server.
BEFORE_AND_AFTER_S = 10.0
LEASES_S = (60.0, 20.0)
DOWN_S = 5.0


@contextlib.contextmanager
def stopped(server: Cluster) -> Iterator[None]:
    """Without a goodbye, as after a power cut."""
    server.stop_at_once()
    yield
    server.start()


@contextlib.contextmanager
def killed(server: Cluster) -> Iterator[None]:
    """Its parent process only; the others end when they notice."""
    server.kill_postmaster()
    yield
    server.start()


@contextlib.contextmanager
def frozen(server: Cluster) -> Iterator[None]:
    """Alive and without an answer."""
    pid = server.pid
    parent = psutil.Process(pid)
    processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        process.suspend()
    yield
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@contextlib.contextmanager
def routed_to_a_standby(server: Cluster) -> Iterator[None]:
    """Led to a server that takes no writes, and back; sessions of it are not ended."""

    def route(value: str) -> None:
        with server.administrator() as cursor:
            cursor.execute(
                f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = {value}"
            )

    route("on")
    server.terminate_all()
    yield
    route("off")


@contextlib.contextmanager
def without_its_standby(server: Cluster) -> Iterator[None]:
    """It answers reads and ends no commit, as when a synchronous standby is lost."""

    def set_standby(change: str) -> None:
        with server.administrator() as cursor:
            cursor.execute(f"ALTER SYSTEM {change}")
            cursor.execute("SELECT pg_reload_conf()")

    set_standby("SET synchronous_standby_names = 'lost'")
    yield
    set_standby("RESET synchronous_standby_names")


Away = Callable[[Cluster], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to lose the server.

    Args:
        away: Takes it away for the time of a block.
        down_s: For how long.
        lease_s: The lease of the workers.
    """

    away: Away
    down_s: float
    lease_s: float

    def run(self, folder: Path, seed: int) -> tuple[str, bool]:
        """Return what was seen in one line, and whether everything held that must."""
        seen: dict[str, float] = {}

        def inject(driver: Driver) -> None:
            assert isinstance(driver, UnderFault)
            count = len(driver.fleet.workers)
            with self.away(server):
                threading.Event().wait(self.down_s)
            seen["back"] = driver.probe()
            lives = [each.process.poll() is None for each in driver.fleet.workers]
            seen["ended"] = count - sum(lives)

        duration_s = BEFORE_AND_AFTER_S + self.down_s
        plan = Plan(
            jobs=int(JOBS_A_SECOND * duration_s), kills=0, stalls=0,
            processes=PROCESSES, seed=seed, lease_s=self.lease_s,
        )  # fmt: skip
        with cluster() as server:
            driver = UnderFault(plan, server.url, folder, inject, duration_s=duration_s)
            report = driver.run()
        extra = report.figures["extra runs"]
        holds = (
            report.is_sound
            and not extra
            and not seen["ended"]
            and seen["back"] <= BACK_WITHIN_S
        )
        line = (
            f"{self.away.__name__} for {self.down_s:g} s, lease {self.lease_s:g} s: "
            f"{report.figures['acknowledged']} jobs, {extra} run twice, "
            f"{seen['ended']:g} workers ended, {driver.unclear} calls without an "
            f"answer, a job starts {seen['back']:.1f} s after the return"
        )
        return (line if report.is_sound else f"{line}\n{report.text()}"), holds


def main() -> int:
    """Run all trials; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--frozen-s", type=float, default=20.0)
    given = parser.parse_args()
    seeds = random.Random(given.seed)
    sys.stdout.write(f"seed {given.seed}\n")
    all_hold = True
    for lease_s in LEASES_S:
        for away, down_s in (
            (stopped, DOWN_S),
            (killed, DOWN_S),
            (routed_to_a_standby, DOWN_S),
            (frozen, given.frozen_s),
            (without_its_standby, given.frozen_s),
        ):
            folder = Path(tempfile.mkdtemp(prefix="failover-"))
            line, holds = Trial(away, down_s, lease_s).run(
                folder, seeds.randrange(1_000_000)
            )
            sys.stdout.write(f"{'held' if holds else 'VIOLATED'}: {line} ({folder})\n")
            sys.stdout.flush()
            all_hold = all_hold and holds
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
