"""Charts of all jobs, of queues and of kinds.

In all of them ``start`` is inclusive and ``end`` exclusive, an empty window has no
buckets, more than 2,000 buckets are an error, and ``now`` decides which figures are
still stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from flask_forge_jobs.errors import InvalidInputError, QueueNotFoundError
from flask_forge_jobs.model.charts import NO_FIGURES, Figures, figures_of
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import DAY_US, SECOND_US, from_micros, to_micros
from flask_forge_jobs.model.metrics import DAY, LEVELS, NOTHING, Tally, Window, window
from flask_forge_jobs.storage.base import Storage

LEAST_SERIES_S = 60
MAX_NAMES = 100
# Per answer.
MAX_BUCKETS_IN_ALL = 20_000
# Without names, more buckets than this of all names together become stored ones, which
# cost a fifth, and at most so many. More take longer than a page may.
MAX_AS_ASKED, MAX_STORED = 500, 1600


class Bucket(NamedTuple):
    """The figures of one bucket, with times in milliseconds.

    Waits are of started runs, from due to started; the others of completed jobs.
    """

    at: datetime
    enqueued: int
    started: int
    retried: int
    completed: int
    dead: int
    cancelled: int
    run_p50_ms: int
    run_p95_ms: int
    run_p99_ms: int
    total_p50_ms: int
    total_p95_ms: int
    total_p99_ms: int
    wait_p50_ms: int
    wait_p95_ms: int
    wait_p99_ms: int

    @property
    def failed(self) -> int:
        """The reference's figure, to which a cancelled job has failed."""
        return self.dead + self.cancelled


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
    """The totals of one kind, or queue; times are of completed jobs, in ms."""

    kind: str
    completed: int
    dead: int
    cancelled: int
    retried: int
    total_run_ms: int
    p50_ms: int
    p95_ms: int
    p99_ms: int
    started: int
    # Of the jobs that ended and were not cancelled; None without one.
    success_rate: float | None
    # The median; None without a completed job.
    usual_run_ms: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of each kind or queue, by name, and of all together.

    ``run_times`` are those of the completed jobs of one of them.
    """

    rows: Sequence[KindRow]
    whole: KindRow
    run_times: Histogram


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
    """Return the figures of each bucket, of some queues or all, of one kind or all.

    A width of 0 means no buckets.
    """
    cut = window(start, end, bucket_secs)
    now_us = to_micros(now)
    level = cut.widest(cut.level(now_us))
    stored = cut.stored(level)
    metrics = storage.metrics
    if kind:
        timelines = metrics.timelines_of_kinds(stored, level, [kind], queue_names)
    else:
        timelines = metrics.timelines(
            stored, level, [""] if queue_names is None else queue_names
        )
    whole = _added_up(stored.count, timelines.values())
    figures = _charted(cut.share_out(stored, whole, now_us))
    return _buckets(_starts(cut), figures)


def metric_series(
    storage: Storage,
    *,
    queue: str,
    start: datetime,
    end: datetime,
    bucket_secs: int,
    now: datetime,
) -> list[Bucket]:
    """Return throughput and times of one queue; an empty name means all together.

    Buckets are at least 60 s wide.
    """
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    if queue and queue not in {known.name for known in storage.queues.all()}:
        raise QueueNotFoundError(queue)
    now_us = to_micros(now)
    level = cut.level(now_us)
    stored = cut.stored(level)
    timelines = storage.metrics.timelines(stored, level, [queue])
    figures = _charted(cut.share_out(stored, timelines[queue], now_us))
    return _buckets(_starts(cut), figures)


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

    ``by`` is ``queue`` or ``kind``. At most 100 names with 20,000 buckets in all are
    allowed. No names mean the first 100 of the registered queues or the active kinds,
    with wider buckets if there would be more than 500 in all. The empty name means all
    queues together. An unknown name has empty buckets. Buckets are at least 60 s wide.
    """
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    now_us = to_micros(now)
    level = cut.level(now_us)
    chosen: Sequence[str] = checked_names(names, cut)
    total, are_all = len(chosen), not chosen
    if are_all:
        known = _known_names(storage, by, cut, queue_names)
        chosen, total = known[:MAX_NAMES], len(known)
        cut, level = _fitting(cut, level, len(chosen))
    whose = _Whose(by == "kind", chosen, queue_names, are_all)
    shown = _figures(storage, whose, cut, level, now_us)
    starts = _starts(cut)
    return SeriesList(
        [Series(name, _buckets(starts, shown[name])) for name in chosen], total
    )


def _fitting(cut: Window, level: int, names: int) -> tuple[Window, int]:
    """Return a window that many names can show, and the level to read it from."""
    span_us = names * (cut.end_us - cut.start_us)
    if cut.count * names <= MAX_AS_ASKED:
        levels = [each for each in LEVELS if each >= level]
        fitting = [each for each in levels if cut.width_us % (each * SECOND_US) == 0]
        few = (each for each in fitting if span_us <= each * SECOND_US * MAX_STORED)
        return cut, next(few, fitting[-1] if fitting else level)
    wide = _widened(cut, names)
    return wide, min(wide.width_us // SECOND_US, DAY)


def _widened(cut: Window, names: int) -> Window:
    """Return the window in stored buckets, few enough for so many names."""
    # One bucket more than fits, since the first one begins before the window.
    fitting = max(MAX_STORED // names - 1, 1)
    span_us = cut.end_us - cut.start_us
    least_us = max(cut.width_us, -(-span_us // fitting))
    widths_us = (level * SECOND_US for level in LEVELS)
    in_days_us = -(-least_us // DAY_US) * DAY_US
    width_us = next((each for each in widths_us if each >= least_us), in_days_us)
    return cut.in_buckets(width_us)


class _Whose(NamedTuple):
    """Queues, or kinds within some queues or all."""

    is_kind: bool
    names: Sequence[str]
    queue_names: Sequence[str] | None
    # Of all names with figures these are the first.
    are_all: bool


def _figures(
    storage: Storage, whose: _Whose, cut: Window, level: int, now_us: int
) -> Mapping[str, Sequence[Figures]]:
    """Return the figures of each bucket, by name, from the stored ones of a level."""
    metrics, stored = storage.metrics, cut.stored(level)
    is_kind, names, queue_names, are_all = whose
    if stored == cut:
        return metrics.charts(
            cut, level, names, by_kind=is_kind, queue_names=queue_names,
            are_active=are_all,
        )  # fmt: skip
    if is_kind:
        timelines = metrics.timelines_of_kinds(stored, level, names, queue_names)
    else:
        timelines = metrics.timelines(stored, level, names)
    return {
        name: _charted(cut.share_out(stored, tallies, now_us))
        for name, tallies in timelines.items()
    }


def checked_names(names: Sequence[str], cut: Window) -> list[str]:
    """Return the names, sorted; too many of them, or too many buckets, are refused."""
    chosen = sorted(set(names))
    if len(chosen) > MAX_NAMES:
        raise InvalidInputError("name", f"{len(chosen)} exceed {MAX_NAMES}")
    if len(chosen) * cut.count > MAX_BUCKETS_IN_ALL:
        raise InvalidInputError(
            "bucket_secs",
            f"{len(chosen)} series of {cut.count} buckets exceed {MAX_BUCKETS_IN_ALL}",
        )
    return chosen


def kinds(
    storage: Storage,
    *,
    now: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
    queue_names: Sequence[str] | None = None,
) -> list[KindRow]:
    """Return the totals of each kind, by kind.

    Without ``start`` the window is a day. Without both it is the last one, from the
    beginning of a half hour on.
    """
    now_us = to_micros(now)
    if start is None and end is None:
        tallies = storage.kind_figures.of_last_day(now_us, queue_names)
    else:
        end_us = now_us if end is None else to_micros(end)
        start_us = end_us - DAY_US if start is None else to_micros(start)
        tallies = storage.kind_figures.within(start_us, end_us, now_us, queue_names)
    return [_kind_row(kind, tally) for kind, tally in tallies.items()]


def totals(
    storage: Storage,
    *,
    by: str,
    now: datetime,
    start: datetime,
    end: datetime,
    queue_names: Sequence[str] | None = None,
    times_of: str | None = None,
) -> Totals:
    """Return the totals of each kind or queue, and of all, from one or two reads.

    ``times_of`` is the kind or queue whose run times are needed one by one. Figures
    that are written late may appear half an hour later.
    """
    tallies = storage.kind_figures.within(
        to_micros(start), to_micros(end), to_micros(now), queue_names,
        per_queue=by == "queue", keeps=True,
    )  # fmt: skip
    whole = Tally()
    for tally in tallies.values():
        whole.merge(tally)
    rows = [_kind_row(name, tally) for name, tally in tallies.items()]
    chosen = tallies.get(times_of or "", Tally())
    return Totals(rows, _kind_row("", whole), chosen.run)


def _known_names(
    storage: Storage, by: str, cut: Window, queue_names: Sequence[str] | None
) -> list[str]:
    if by == "kind":
        # Of a window that begins a fifteenth earlier, or less, for few rows.
        minute_us = LEAST_SERIES_S * SECOND_US
        minutes = -((cut.start_us - cut.end_us) // minute_us)
        wide = _widened(Window(cut.start_us, minute_us, minutes), MAX_NAMES)
        level = min(wide.width_us // SECOND_US, DAY)
        return storage.kind_figures.active(wide, level, queue_names) if minutes else []
    if queue_names is not None:
        return sorted(queue_names)
    return [queue.name for queue in storage.queues.all()]


def _added_up(count: int, several: Iterable[list[Tally]]) -> list[Tally]:
    total = [NOTHING] * count
    for tallies in several:
        for number, tally in enumerate(tallies):
            if total[number] is NOTHING:
                total[number] = tally
            elif tally is not NOTHING:
                total[number].merge(tally)
    return total


def _charted(tallies: Iterable[Tally]) -> list[Figures]:
    return [NO_FIGURES if each is NOTHING else figures_of(each) for each in tallies]


def _buckets(starts: Sequence[datetime], figures: Iterable[Figures]) -> list[Bucket]:
    return [Bucket(at, *each) for at, each in zip(starts, figures, strict=True)]


def _starts(cut: Window) -> list[datetime]:
    if not cut.count:
        return []
    first, width = from_micros(cut.start_us), timedelta(microseconds=cut.width_us)
    return [first + number * width for number in range(cut.count)]


def _kind_row(kind: str, tally: Tally) -> KindRow:
    ended = tally.completed + tally.dead
    p50_ms, p95_ms, p99_ms = tally.run.charted_ms()
    return KindRow(
        kind,
        tally.completed,
        tally.dead,
        tally.cancelled,
        tally.retried,
        round(tally.run.sum_us / 1000),
        p50_ms,
        p95_ms,
        p99_ms,
        tally.started,
        tally.completed / ended if ended else None,
        p50_ms if tally.completed else None,
    )
