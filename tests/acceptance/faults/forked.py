"""Group F: forks, threads and servers."""

from __future__ import annotations

from tests.acceptance.faults import forking
from tests.acceptance.faults.fault import BOTH, Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        "F1", "fork after the first use", BOTH,
        "8 forks, both sides work for 2 s", forking.both_sides_work,
        full="8 forks, both sides work for 5 s",
    ),
    Fault(
        "F4", "fork beside threads that write and log", BOTH,
        "100 forks, each child writes", forking.beside_threads,
        full="500 forks, each child writes",
    ),
    Fault(
        "F5", "task that starts processes", BOTH,
        "4 ways, 5 each, each child writes", forking.tasks_that_start_processes,
        full="4 ways, 25 each, each child writes",
    ),
)  # fmt: skip
