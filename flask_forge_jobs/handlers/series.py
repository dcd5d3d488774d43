"""What happened over time: charts of all jobs, of queues and of kinds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from flask_forge_jobs.errors import InvalidInputError, QueueNotFoundError
from flask_forge_jobs.model.histograms import CHARTED, Histogram
from flask_forge_jobs.model.instants import from_micros, to_micros
from flask_forge_jobs.model.metrics import NOTHING, Tally, Window, window
from flask_forge_jobs.storage.base import Storage

LEAST_SERIES_S = 60
MAX_NAMES = 100
# In all series of one answer.
MAX_BUCKETS_IN_ALL = 20_000
DEFAULT_KINDS_WINDOW = timedelta(days=1)
_NO_FIGURES = (0,) * 11


class Bucket(NamedTuple):
    """What happened within one bucket; times are of completed jobs, in milliseconds."""

    at: datetime
    enqueued: int
    started: int
    retried: int
    completed: int
    failed: int
    run_p50_ms: int
    run_p95_ms: int
    run_p99_ms: int
    total_p50_ms: int
    total_p95_ms: int
    total_p99_ms: int


@dataclass(frozen=True, slots=True)
class Series:
    """The buckets of one queue or kind."""

    name: str
    buckets: Sequence[Bucket]


@dataclass(frozen=True, slots=True)
class SeriesList:
    """The first series, and how many there are in all."""

    series: Sequence[Series]
    total: int


@dataclass(frozen=True, slots=True)
class KindRow:
    """What happened to one kind; times are of completed jobs, in milliseconds."""

    kind: str
    completed: int
    failed: int
    retried: int
    total_run_ms: int
    p50_ms: int
    p95_ms: int
    p99_ms: int


def timeline(
    storage: Storage,
    *,
    start: datetime,
    end: datetime,
    bucket_secs: int,
    now: datetime,
    queue_names: Sequence[str] | None = None,
    kind: str | None = None,
) -> list[Bucket]:
    """Return what happened in each bucket of ``[start, end)``.

    Args:
        storage: Where the figures are.
        start: Where the first bucket begins.
        end: Not included; at or before ``start`` there are no buckets.
        bucket_secs: Width in seconds; 0 makes no buckets.
        now: Decides which figures are still kept.
        queue_names: Only of these queues; None means all.
        kind: Only of this kind; None means all.

    Raises:
        InvalidInputError: There would be more than 2,000 buckets.
        StorageUnavailableError: The database could not be reached.
    """
    cut = window(start, end, bucket_secs)
    now_us = to_micros(now)
    level = cut.level(now_us)
    stored = cut.stored(level)
    metrics = storage.metrics
    if kind:
        found = metrics.timelines_of_kinds(stored, level, [kind], queue_names)
    else:
        found = metrics.timelines(
            stored, level, [""] if queue_names is None else queue_names
        )
    whole = _added_up(stored.count, found.values())
    return _buckets(cut, cut.share_out(stored, whole, now_us))


def metric_series(
    storage: Storage,
    *,
    queue: str,
    start: datetime,
    end: datetime,
    bucket_secs: int,
    now: datetime,
) -> list[Bucket]:
    """Return throughput and times of one queue.

    Args:
        storage: Where the figures are.
        queue: A registered queue; empty for all queues together.
        start: Where the first bucket begins.
        end: Not included; at or before ``start`` there are no buckets.
        bucket_secs: Width in seconds; less than 60 is raised to 60.
        now: Decides which figures are still kept.

    Raises:
        InvalidInputError: There would be more than 2,000 buckets.
        QueueNotFoundError: No such queue.
        StorageUnavailableError: The database could not be reached.
    """
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    if queue and queue not in {known.name for known in storage.queues.all()}:
        raise QueueNotFoundError(queue)
    now_us = to_micros(now)
    level = cut.level(now_us)
    stored = cut.stored(level)
    found = storage.metrics.timelines(stored, level, [queue])
    return _buckets(cut, cut.share_out(stored, found[queue], now_us))


def series(
    storage: Storage,
    *,
    by: str,
    names: Sequence[str],
    start: datetime,
    end: datetime,
    bucket_secs: int,
    now: datetime,
    queue_names: Sequence[str] | None = None,
) -> SeriesList:
    """Return throughput and times of several queues or kinds, by name.

    Args:
        storage: Where the figures are.
        by: ``queue`` or ``kind``.
        names: Which, at most 100; none means the registered queues, or the kinds that
            had anything happen, as many of the first 100 as have 20,000 buckets in all.
            A name that nobody knows has empty buckets.
        start: Where the first bucket begins.
        end: Not included; at or before ``start`` there are no buckets.
        bucket_secs: Width in seconds; less than 60 is raised to 60.
        now: Decides which figures are still kept.
        queue_names: Only of these queues; None means all.

    Raises:
        InvalidInputError: Too many names, or more than 2,000 buckets in one series or,
            of these names, 20,000 in all.
        StorageUnavailableError: The database could not be reached.
    """
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    wanted = sorted(set(names))
    if len(wanted) > MAX_NAMES:
        raise InvalidInputError("name", f"{len(wanted)} exceed {MAX_NAMES}")
    if len(wanted) * cut.count > MAX_BUCKETS_IN_ALL:
        raise InvalidInputError(
            "bucket_secs",
            f"{len(wanted)} series of {cut.count} buckets exceed {MAX_BUCKETS_IN_ALL}",
        )
    known = wanted or _known_names(storage, by, cut, now, queue_names)
    wanted = known[: min(MAX_NAMES, MAX_BUCKETS_IN_ALL // max(cut.count, 1))]
    now_us = to_micros(now)
    level = cut.level(now_us)
    stored = cut.stored(level)
    if by == "kind":
        found = storage.metrics.timelines_of_kinds(stored, level, wanted, queue_names)
    else:
        found = storage.metrics.timelines(stored, level, wanted)
    shown = [
        Series(name, _buckets(cut, cut.share_out(stored, found[name], now_us)))
        for name in wanted
    ]
    return SeriesList(shown, len(known))


def kinds(
    storage: Storage,
    *,
    now: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
    queue_names: Sequence[str] | None = None,
) -> list[KindRow]:
    """Return what happened to each kind within ``[start, end)``, by kind.

    Args:
        storage: Where the figures are.
        now: Decides which figures are still kept.
        start: A day before ``end`` by default.
        end: ``now`` by default.
        queue_names: Only of these queues; None means all.

    Raises:
        StorageUnavailableError: The database could not be reached.
    """
    end_us = to_micros(now if end is None else end)
    day_before_us = end_us - DEFAULT_KINDS_WINDOW // timedelta(microseconds=1)
    start_us = day_before_us if start is None else to_micros(start)
    found = storage.metrics.kinds(start_us, end_us, to_micros(now), queue_names)
    return [_kind_row(kind, tally) for kind, tally in found.items()]


def _known_names(
    storage: Storage,
    by: str,
    cut: Window,
    now: datetime,
    queue_names: Sequence[str] | None,
) -> list[str]:
    if by == "queue":
        if queue_names is not None:
            return sorted(queue_names)
        return [queue.name for queue in storage.queues.all()]
    return list(
        storage.metrics.kinds(cut.start_us, cut.end_us, to_micros(now), queue_names)
    )


def _added_up(count: int, several: Iterable[list[Tally]]) -> list[Tally]:
    total = [NOTHING] * count
    for tallies in several:
        for number, tally in enumerate(tallies):
            if total[number] is NOTHING:
                total[number] = tally
            elif tally is not NOTHING:
                total[number].merge(tally)
    return total


def _buckets(cut: Window, tallies: Sequence[Tally]) -> list[Bucket]:
    if not cut.count:
        return []
    first, width = from_micros(cut.start_us), timedelta(microseconds=cut.width_us)
    return [
        Bucket(first + number * width, *_NO_FIGURES)
        if tally is NOTHING
        else Bucket(
            first + number * width,
            tally.enqueued,
            tally.started,
            tally.retried,
            tally.completed,
            tally.failed,
            *_milliseconds(tally.run),
            *_milliseconds(tally.total),
        )
        for number, tally in enumerate(tallies)
    ]


def _milliseconds(histogram: Histogram) -> list[int]:
    return [round(us / 1000) for us in histogram.percentiles(*CHARTED)]


def _kind_row(kind: str, tally: Tally) -> KindRow:
    return KindRow(
        kind,
        tally.completed,
        tally.failed,
        tally.retried,
        round(tally.run.sum_us / 1000),
        *_milliseconds(tally.run),
    )
