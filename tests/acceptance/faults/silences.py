"""Connections over which nothing comes any more, and nobody says so."""

from __future__ import annotations

import threading

from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.outages import PROCESSES, plan_of, require_sound
from tests.acceptance.kill_workers import Driver
from tests.support.proxy import Proxy, proxied
from tests.support.waiting import wait_until

# Beyond what the matrix allows a stall to last.
LEASE_S = 12.0
STATEMENT_LIMIT_S = 3.0
LONGEST_STALL_S = 10.0
# After which whatever ran when the connections went silent has ended.
RUNS_END_S = 1.0
# Two heartbeats of a lease of a minute, which is the default.
NOTICED_S = 20.0
# How often a worker that waits for wake-ups looks all the same, and some for a machine
# that is busy.
POLL_S = 5.0 + 1.0
WOKEN_S = 1.0
# Of the storage of jobs: longer than all repeats take.
A_REPEAT_S = LONGEST_STALL_S


def half_open(bench: Bench) -> str:
    """C6."""
    repeats = bench.pick(1, 1, 20)
    settings = bench.settings
    stalls: list[float] = []
    polls: list[float] = []
    with proxied(settings) as queries, proxied(settings) as wakes:

        def inject(driver: Driver) -> None:
            assert isinstance(driver, UnderFault)
            stalls.extend(_stall(driver, queries) for _ in range(repeats))
            driver.wait_for_quiet()
            polls.extend(_deafness(driver, wakes) for _ in range(repeats))

        driver = UnderFault(
            plan_of(bench, jobs=repeats * 500, lease_s=LEASE_S),
            bench.url,
            bench.folder,
            inject,
            duration_s=repeats * A_REPEAT_S,
            worker_url=queries.url_of(settings),
            environ={
                "FLASK_FORGE_JOBS_LISTEN_URL": wakes.url_of(settings),
                "FLASK_FORGE_JOBS_STATEMENT_TIMEOUT_S": f"{STATEMENT_LIMIT_S:.0f}",
            },
        )
        report = driver.run()
    require_sound(report)
    return (
        f"{repeats} times each: queries stalled {max(stalls):.1f} s at most, a job was "
        f"found within {max(polls):.1f} s while LISTEN was dead, which was noticed "
        f"within {NOTICED_S:.0f} s; {report.figures['acknowledged']} jobs, 0 lost, "
        "0 extra runs"
    )


def _stall(driver: UnderFault, queries: Proxy) -> float:
    """Make the connections for queries go silent; return for how long nothing runs."""
    assert queries.freeze() >= PROCESSES
    threading.Event().wait(RUNS_END_S)
    stall_s = RUNS_END_S + driver.probe()
    assert stall_s <= LONGEST_STALL_S, f"nothing ran for {stall_s:.1f} s"
    return stall_s


def _deafness(driver: UnderFault, wakes: Proxy) -> float:
    """Make the listening connections go silent; return how long a job waits then."""
    before = wakes.accepted
    assert wakes.freeze() == PROCESSES
    poll_s = driver.probe()
    assert poll_s <= POLL_S, f"a job was found after {poll_s:.1f} s"
    wait_until(
        lambda: wakes.accepted >= before + PROCESSES,
        "every worker noticed that it hears nothing",
        NOTICED_S,
    )
    wait_until(lambda: driver.probe() < WOKEN_S, "workers are woken again")
    return poll_s
