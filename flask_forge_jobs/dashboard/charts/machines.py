"""Charts of machines, a line per worker, and of the database that all of them use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import TypeVar

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts.figure import (
    Figure,
    Line,
    Span,
    Values,
    percentiles,
)
from flask_forge_jobs.dashboard.charts.ticks import Unit
from flask_forge_jobs.handlers.machines import Machines
from flask_forge_jobs.handlers.samples import DbHealthBucket, ResourceBucket

HEIGHT = 72
# A reader can tell so many lines apart.
MAX_LINES = 6
# No worker is better or worse than another: none is green, amber or red.
_LOOKS: Sequence[tuple[str, Sequence[str]]] = (
    ("blue", ()),
    ("ink", ("dashed",)),
    ("violet", ()),
    ("blue", ("dotted",)),
    ("ink", ()),
    ("violet", ("dashed",)),
)
_FULL_PCT = 100
B = TypeVar("B", ResourceBucket, DbHealthBucket)


def busiest(machines: Machines, chosen: Sequence[str] = ()) -> list[str]:
    """Return the ids of the workers to draw, by name.

    These are the chosen ones, or those that used most of their machines last.
    """

    def last_use(worker_id: str) -> float:
        used = [each.cpu_pct for each in machines.resources[worker_id]]
        return next((pct for pct in reversed(used) if pct is not None), -1.0)

    known = [worker_id for worker_id in chosen if worker_id in machines.resources]
    drawn = known or sorted(machines.resources, key=last_use, reverse=True)
    return sorted(drawn[:MAX_LINES], key=lambda each: (name_of(machines, each), each))


def name_of(machines: Machines, worker_id: str) -> str:
    """Return the name of a worker; of one that is gone, the end of its id."""
    return words.worker(worker_id, machines.names.get(worker_id))


def resources(
    machines: Machines,
    span: Span,
    worker_ids: Sequence[str],
    toggled: Sequence[str] = (),
) -> list[Figure]:
    """Return the charts of CPU, memory and disk of some workers."""

    def lines(value_of: Callable[[ResourceBucket], float | None]) -> list[Line]:
        return [
            Line(
                name_of(machines, worker_id),
                tone,
                _of(machines.resources[worker_id], value_of),
                look,
            )
            for worker_id, (tone, look) in zip(worker_ids, _LOOKS, strict=False)
        ]

    rows = list(zip(*machines.resources.values(), strict=True))
    read = [_sum(each.disk_read_bytes for each in row) for row in rows]
    write = [_sum(each.disk_write_bytes for each in row) for row in rows]
    disk = [Line("read", "blue", read), Line("write", "violet", write, ["dashed"])]
    percent = partial(_small(span, toggled), unit=Unit.PERCENT, least=_FULL_PCT)
    size = partial(_small(span, toggled), unit=Unit.BYTES)
    return [
        percent("cpu", "CPU", lines=lines(lambda each: each.cpu_pct)),
        size("memory", "Memory", lines=lines(lambda each: each.rss_bytes)),
        size("disk", "Disk per minute", lines=disk),
        percent("disk_used", "Disk used", lines=lines(lambda each: each.disk_used_pct)),
    ]


def database(
    buckets: Sequence[DbHealthBucket],
    span: Span,
    toggled: Sequence[str] = (),
    *,
    share: Callable[[int], float | None] = lambda _: 1.0,
    has_pool: bool,
) -> list[Figure]:
    """Return the charts of times, calls, sizes and connections.

    ``share`` returns how much of a bucket has passed; None leaves its calls out.
    """

    def rates(
        value_of: Callable[[DbHealthBucket], float | None],
    ) -> list[float | None]:
        shares = map(share, range(len(buckets)))
        return [
            None if part is None or (value := value_of(each)) is None else value / part
            for each, part in zip(buckets, shares, strict=True)
        ]

    count = partial(_small(span, toggled), unit=Unit.COUNT)
    size = partial(_small(span, toggled), unit=Unit.BYTES)
    times = partial(_small(span, toggled), unit=Unit.MILLISECONDS, is_band=True)
    reads = rates(lambda each: each.reads_per_min)
    writes = rates(lambda each: each.writes_per_min)
    data = _of(buckets, lambda each: each.db_size_bytes or None)
    # A database has a size: without one, none was measured, of its log neither.
    log = _of(buckets, lambda each: each.wal_bytes if each.db_size_bytes else None)
    calls = [Line("reads", "blue", reads), Line("writes", "violet", writes, ["dashed"])]
    of_reads = percentiles(map(_times_of("read"), buckets))
    of_writes = percentiles(map(_times_of("write"), buckets))
    drawn = [
        times("reads", "Database reads", lines=of_reads),
        times("writes", "Database writes", lines=of_writes),
        count("calls", "Calls per minute", lines=calls),
        size("size", "Database size", lines=[Line("data", "ink", data, ["area"])]),
        size("log", "Log size", lines=[Line("log", "ink", log, ["area"])]),
    ]
    if has_pool:
        drawn.append(count("pool", "Connections", lines=_pool(buckets)))
    return drawn


def _pool(buckets: Sequence[DbHealthBucket]) -> list[Line]:
    # A pool has a maximum: without one, none was measured.
    used = _of(buckets, lambda each: each.pool_active if each.pool_max else None)
    idle = _of(buckets, lambda each: each.pool_idle if each.pool_max else None)
    possible = _of(buckets, lambda each: each.pool_max or None)
    return [
        Line("in use", "blue", used, ["area"]),
        Line("idle", "violet", idle, ["thin"]),
        Line("possible", "ink", possible, ["thin", "dashed"], is_off=True),
    ]


def _small(span: Span, toggled: Sequence[str]) -> Callable[..., Figure]:
    return partial(Figure, span=span, toggled=toggled, height=HEIGHT)


def _times_of(call: str) -> Callable[[DbHealthBucket], Values | None]:
    """Return a function for the percentiles of a bucket; None without a call."""
    names = (f"{call}s_per_min", *(f"{call}_p{each}_ms" for each in (50, 95, 99)))
    read = attrgetter(*names)

    def times(each: DbHealthBucket) -> Values | None:
        per_min, *times_ms = read(each)
        # Few a bucket are none a minute.
        return times_ms if per_min or times_ms[-1] else None

    return times


def _of(
    buckets: Sequence[B], value_of: Callable[[B], float | None]
) -> list[float | None]:
    return [value_of(each) for each in buckets]


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
