"""Group B: stalls, leases and who owns a job."""

from __future__ import annotations

from tests.acceptance.faults import (
    concurrency_limits,
    heartbeats,
    racing,
    reaping,
    stalls,
    undecodable,
)
from tests.acceptance.faults.fault import BOTH, Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        "B1", "job slower than the lease", BOTH,
        "500 jobs of 10 s, lease 3 s", stalls.slow_job,
    ),
    Fault(
        "B2", "process stalled past its lease", BOTH,
        "200 stalls, 20 at a time", stalls.stalled_process,
    ),
    Fault(
        "B3", "reaper stalled between look and write", BOTH,
        "200 stalls", reaping.stalled_reaper,
    ),
    Fault(
        "B4", "claimed again by the process that lost it", BOTH,
        "100 jobs, 25 at a time", stalls.claimed_again,
    ),
    Fault(
        "B5", "heartbeat hangs or fails", BOTH,
        "10 that hang, 10 that fail", heartbeats.broken_heartbeat,
    ),
    Fault(
        "B6", "task keeps the interpreter's lock", BOTH,
        "3 of 8 s in a thread and in a process, lease 2 s", heartbeats.interpreter_hog,
        full="10 of 8 s in a thread and in a process, lease 2 s",
    ),
    Fault(
        "B7", "many reapers", BOTH,
        "8 reapers, 1,000 stale", reaping.many_reapers,
        full="8 reapers, 5,000 stale",
    ),
    Fault(
        "B8", "operators race owners and reapers", BOTH,
        "8 threads, 5,000 steps", racing.races,
        full="8 threads, 50,000 steps",
    ),
    Fault(
        "B9", "time limit at the moment of success", BOTH,
        "2,000 jobs, ±1 ms", racing.limit_at_the_end,
    ),
    Fault(
        "B10", "row that cannot be decoded", BOTH,
        "1 in 100 on each path", undecodable.one_row_in_a_hundred,
    ),
    Fault(
        "B11", "dead jobs behind live ones", BOTH,
        "50 dead behind 1,000 live, 2 sweeps", reaping.crowd_before_the_dead,
    ),
    Fault(
        "B12", "unique key of a dead worker's job", BOTH,
        "100 keys", reaping.key_of_the_dead,
    ),
    Fault(
        "B13", "permit of a dead worker", BOTH,
        "20 kills, 3 workers", concurrency_limits.permit_of_the_dead,
        full="50 kills, 8 workers",
    ),
)  # fmt: skip
