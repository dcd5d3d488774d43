"""The server stops, dies, or ends every session, while jobs are stored and run."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.kill_workers import Driver, Plan, Report
from tests.support.cluster import Cluster, cluster
from tests.support.sql import Sql
from tests.support.waiting import wait_until

LEASE_S = 3.0
PROCESSES = 3
LONGEST_OUTAGE_S = 5.0
# Of the matrix, for a session that listens.
LISTENS_AGAIN_S = 5.0
TERMINATE_RANGE_S = (1.0, 3.0)
# A session that listens has never done anything else since.
_LISTENING = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND state = 'idle' AND query LIKE 'LISTEN %'"
)
_END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'"
)
# What the log says of trouble with the server, not of tasks that fail on purpose.
_TROUBLE = re.compile(rb"^20(?!.*flask_forge_jobs\.jobs: ).*$", re.MULTILINE)
# Each service of a worker tells once that the storage fails and once that it works
# again, the listener too; what comes on top must not be more than a line a second.
LINES_AN_OUTAGE = 24


@dataclass(slots=True)
class Outages:
    """Takes the server away and gives it back, so many times."""

    bench: Bench
    times: int
    strike: Callable[[], None]
    give_back: Callable[[], None]
    down_s: float = 0.0
    slowest_s: float = 0.0
    most_lines: float = 0.0
    most_lines_a_second: float = 0.0

    def inject(self, driver: Driver) -> None:
        """Do it, each time until a job that is stored then is started."""
        assert isinstance(driver, UnderFault)
        for _ in range(self.times):
            lines = _lines_of_trouble(driver)
            down_s = self.bench.random.uniform(0.0, LONGEST_OUTAGE_S)
            self.strike()
            threading.Event().wait(down_s)
            self.give_back()
            recovery_s = driver.probe()
            said = _lines_of_trouble(driver) - lines
            rate = (said / PROCESSES - LINES_AN_OUTAGE) / max(down_s + recovery_s, 1.0)
            self.most_lines = max(self.most_lines, said / PROCESSES)
            self.down_s += down_s
            self.slowest_s = max(self.slowest_s, recovery_s)
            self.most_lines_a_second = max(self.most_lines_a_second, rate)


def _lines_of_trouble(driver: Driver) -> int:
    return len(_TROUBLE.findall(driver.fleet.log.read_bytes()))


def plan_of(bench: Bench, jobs: int, *, lease_s: float = LEASE_S) -> Plan:
    """Return the plan of a fleet that nobody kills."""
    return Plan(
        jobs=jobs,
        kills=0,
        stalls=0,
        processes=PROCESSES,
        seed=bench.random.randrange(1_000_000),
        lease_s=lease_s,
    )


def require_sound(report: Report) -> None:
    """Raise what an invariant that is broken says."""
    assert report.is_sound, "an invariant is broken\n" + report.text()
    assert report.figures["extra runs"] == 0, report.text()


def immediate_stops(bench: Bench) -> str:
    """C1."""
    with cluster() as server:
        return _run(
            bench,
            server,
            server.stop_at_once,
            times=bench.pick(1, 2, 20),
            jobs=bench.pick(400, 2_000, 20_000),
        )


def killed_servers(bench: Bench) -> str:
    """C2: the postmaster, and then one backend, which costs all of them."""
    times = bench.pick(1, 2, 10)
    jobs = bench.pick(300, 1_000, 10_000)
    with cluster() as server:
        parent = _run(bench, server, server.kill_postmaster, times=times, jobs=jobs)
    with cluster() as server:

        def kill_one() -> None:
            server.kill_backend(bench.random.choice(server.backends()))

        backend = _run(bench, server, kill_one, times=times, jobs=jobs)
    return f"postmaster: {parent}; backend: {backend}"


def _run(
    bench: Bench, server: Cluster, strike: Callable[[], None], *, times: int, jobs: int
) -> str:
    outages = Outages(bench, times, strike, server.start)
    folder = bench.folder / secrets.token_hex(4)
    folder.mkdir()
    driver = UnderFault(
        plan_of(bench, jobs),
        server.url,
        folder,
        outages.inject,
        duration_s=times * LONGEST_OUTAGE_S,
    )
    report = driver.run()
    require_sound(report)
    rate = outages.most_lines_a_second
    assert rate <= 1.0, f"{rate:.1f} lines a second too many in the log"
    return (
        f"{report.figures['acknowledged']} jobs, 0 lost, 0 extra runs, {times} outages "
        f"of {outages.down_s:.1f} s in all, {driver.unclear} unclear, a job starts in "
        f"{outages.slowest_s:.1f} s, {outages.most_lines:.0f} lines in a process's log"
    )


def ended_sessions(bench: Bench) -> str:
    """C3."""
    rounds = bench.pick(3, 200, 200)
    ended = 0
    sql = Sql(bench.settings)

    def inject(_: Driver) -> None:
        nonlocal ended
        for _round in range(rounds):
            threading.Event().wait(bench.random.uniform(*TERMINATE_RANGE_S))
            ended += len(sql.run(_END_ALL))
        wait_until(
            lambda: sql.value(_LISTENING) == PROCESSES,
            "every worker listens again",
            LISTENS_AGAIN_S,
        )

    driver = UnderFault(
        plan_of(bench, bench.pick(300, 10_000, 10_000)),
        bench.url,
        bench.folder,
        inject,
        duration_s=rounds * sum(TERMINATE_RANGE_S) / 2,
    )
    report = driver.run()
    require_sound(report)
    return (
        f"{report.figures['acknowledged']} jobs, 0 lost, 0 extra runs, {ended} "
        f"sessions ended in {rounds} rounds, {driver.unclear} unclear, all listen "
        f"again within {LISTENS_AGAIN_S:.0f} s"
    )
