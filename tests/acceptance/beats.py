"""Which workers let their lease run out although nobody has stopped or killed them.

A machine may be too busy for a short lease: then others take the jobs of a worker that
lives, as they may, and it finishes none of them. What proves it is the worker's own
note of each heartbeat that was stored. Without such a gap it is a fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from tests.acceptance.ledger import FinalRow, Kill, Run
from tests.acceptance.rescues import rescues

Beats = Mapping[str, list[tuple[int, int]]]
"""Process to the beginning and the end of each heartbeat, in monotonic nanoseconds."""


def read_beats(path: Path) -> Beats:
    """Return what worker processes have noted; an absent file is empty."""
    beats: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    if path.exists():
        for line in path.read_text("ascii").splitlines():
            process, began_ns, ended_ns = line.split()
            beats[process].append((int(began_ns), int(ended_ns)))
    return beats


def lapses(
    rows: Iterable[FinalRow],
    beats: Beats,
    ends: Mapping[int, int],
    *,
    lease_ns: int,
    died_at: Mapping[str, int] = MappingProxyType({}),
    explained: Iterable[Run] = (),
) -> Iterator[Kill]:
    """Yield the runs that were lost in a gap between two heartbeats, as stalls.

    Args:
        rows: Every job.
        beats: Of each process, in order.
        ends: When processes ended that noticed themselves that they beat no more.
        lease_ns: Length of the lease; a shorter gap explains nothing.
        died_at: When workers were killed: by then, one may have lost its lease already.
        explained: Runs that were lost by a kill or a stall.
    """
    gaps: dict[str, tuple[int, list[tuple[int, int]]]] = {}
    for process, times in beats.items():
        name, _, number = process.partition("/")
        pid = int(number)
        end_ns = died_at.get(name, ends.get(pid))
        gaps[name] = pid, _gaps(times, end_ns, lease_ns)
    known = set(explained)
    for rescue in rescues(rows):
        if rescue.run in known or rescue.worker_id not in gaps:
            continue
        pid, of_worker = gaps[rescue.worker_id]
        for from_ns, to_ns in of_worker:
            if from_ns <= rescue.at_ns <= to_ns:
                held = frozenset({rescue.run})
                yield Kill(pid, rescue.worker_id, from_ns, held, resumed_ns=to_ns)


def _gaps(
    times: list[tuple[int, int]], end_ns: int | None, lease_ns: int
) -> list[tuple[int, int]]:
    """Return from when to when a process may have been silent for a lease."""
    last = [] if end_ns is None else [(end_ns, end_ns)]
    return [
        (began_ns, ended_ns)
        for (began_ns, _), (_, ended_ns) in pairwise([*times, *last])
        if ended_ns - began_ns >= lease_ns
    ]
