"""Group E: time, schedules, coordination and the schema."""

from __future__ import annotations

from tests.acceptance import catch_up
from tests.acceptance.faults import clocks, leaders, schema
from tests.acceptance.faults.fault import BOTH, Bench, Fault
from tests.acceptance.firing import Driver, Plan


def double_fire(bench: Bench) -> str:
    """E4: many schedulers with wrong clocks fire the same instants."""
    plan = Plan(
        firings=bench.pick(200, 2_000, 10_000),
        schedules=bench.pick(20, 50, 50),
        processes=bench.pick(3, 8, 8),
        handovers=bench.pick(0, 1, 8),
    )
    report = Driver(plan, bench.url, bench.folder).run()
    assert not report.faults, report.text()
    return f"{report.figures['fired']} firings, every instant once"


def scheduler_down(bench: Bench) -> str:
    """E5: nobody fires for ten minutes, then each policy makes up for it."""
    outcomes = catch_up.run(bench.url, bench.folder)
    for outcome in outcomes:
        assert list(outcome.fired) == list(outcome.expected), outcome
    made_up = ", ".join(
        f"{len(outcome.fired)} by {word}({limit})"
        for outcome in outcomes
        for word, limit in [outcome.policy]
    )
    return f"made up {made_up}"


def two_leaders(bench: Bench) -> str:
    """E2: the leader is stopped past its lease and goes on beside its successor."""
    plan = Plan(firings=100, schedules=20, processes=4, handovers=bench.pick(1, 3, 50))
    report = Driver(plan, bench.url, bench.folder).run()
    assert not report.faults, report.text()
    figures = report.figures
    assert figures["leaders that were stopped"] == plan.handovers
    return (
        f"{plan.handovers} hand-overs, {figures['fired']} firings, every instant once"
    )


FAULTS = (
    Fault(
        "E1", "wall clock jumps", BOTH,
        "12 jumps and a jitter", clocks.jumps,
    ),
    Fault(
        "E2", "two leaders", BOTH,
        "3 hand-overs", two_leaders, full="50 hand-overs",
    ),
    Fault(
        "E3", "no leader", BOTH,
        "30 s", leaders.none_for_long, full="60 s",
    ),
    Fault(
        "E4", "duplicate firing", BOTH,
        "8 schedulers, clocks ±2 s, 2,000 instants", double_fire,
        full="8 schedulers, clocks ±2 s, 10,000 instants",
    ),
    Fault(
        "E5", "scheduler down across fire times", BOTH,
        "10 min down, 5 policies", scheduler_down,
    ),
    Fault(
        "E9", "many processes migrate", BOTH,
        "16 processes, 10 times", schema.migrate_at_once,
        full="16 processes, 100 times",
    ),
    Fault(
        "E11", "schema newer than the code", BOTH,
        "1 that starts, 3 that run", schema.newer_schema,
    ),
)  # fmt: skip
