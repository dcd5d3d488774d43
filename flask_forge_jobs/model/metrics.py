"""Metrics: tallies of jobs, samples of workers, and the arithmetic of their buckets.

Figures are kept in buckets of several widths, so that charts of an hour and of a month
read about as many rows. A bucket belongs to the interval in which it begins, so
adjacent intervals never count one twice. If an interval does not consist of whole
buckets, they are divided by time, exact to the last job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import NamedTuple

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import DAY_US, SECOND_US, to_micros

MAX_BUCKETS = 2000
# Widths of the stored buckets in seconds. Prometheus counters are sums of days.
LEVELS = (10, 60, 300, 1800, 10_800, 86_400)
FINEST, DAY = LEVELS[0], LEVELS[-1]
# The finest buckets are kept this long, enough for a window of a day; others for
# KEPT_US.
FINEST_KEPT_US = DAY_US + 3600 * SECOND_US
KEPT_US = 30 * DAY_US
# A chart reads the finest level with at most this many buckets in its window.
_MAX_ROWS = 1500
# Most stored buckets to divide: enough for windows with buckets below half an hour.
_MAX_SHARED = 6 * MAX_BUCKETS
# The same for samples, which are taken once a minute.
SAMPLE_LEVELS = (60, 300, 1800)


class MetricKey(NamedTuple):
    """The bucket of a tally; "" as kind or queue name stands for all of them."""

    level: int
    bucket_us: int
    queue_name: str
    kind: str


@dataclass(slots=True)
class Tally:
    """The figures of one queue and kind within one bucket.

    ``cancelled`` jobs ended because a user asked for it; ``dead`` ones were given up.
    ``retried`` runs ended with the job waiting again. ``refused`` runs ended when the
    job was no longer theirs, which charts do not show. ``wait`` is from due to started,
    of every run; ``run`` and ``total`` are from started and from enqueued to finished,
    of completed jobs.
    """

    enqueued: int = 0
    started: int = 0
    retried: int = 0
    completed: int = 0
    dead: int = 0
    refused: int = 0
    cancelled: int = 0
    wait: Histogram = field(default_factory=Histogram)
    run: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)

    def merge(self, other: Tally) -> None:
        """Add another tally."""
        self.enqueued += other.enqueued
        self.started += other.started
        self.retried += other.retried
        self.completed += other.completed
        self.dead += other.dead
        self.refused += other.refused
        self.cancelled += other.cancelled
        self.wait.merge(other.wait)
        self.run.merge(other.run)
        self.total.merge(other.total)

    def merge_part(self, other: Tally, begin: int, end: int, whole: int) -> None:
        """Add the part from ``begin`` to ``end`` of a bucket that is ``whole`` long.

        The parts of a bucket have whole counts that add up to its tally. A duration
        counts once per unit of the part, so percentiles of merged parts are right, but
        not the number of durations.
        """

        def part(count: int) -> int:
            return count * end // whole - count * begin // whole

        completed, started = part(other.completed), part(other.started)
        self.enqueued += part(other.enqueued)
        self.started += started
        self.retried += part(other.retried)
        self.completed += completed
        self.dead += part(other.dead)
        self.cancelled += part(other.cancelled)
        if started:
            self.wait.merge_times(other.wait, end - begin)
        if completed:
            self.run.merge_times(other.run, end - begin)
            self.total.merge_times(other.total, end - begin)


NOTHING = Tally()
"""The tally of every empty bucket; never add to it."""


@dataclass(frozen=True, slots=True)
class Window:
    """An interval cut into ``count`` buckets from its start on; 0 makes it empty."""

    start_us: int
    width_us: int
    count: int

    @property
    def end_us(self) -> int:
        """End of the last bucket."""
        return self.start_us + self.count * self.width_us

    def index_of(self, instant_us: int) -> int:
        """Return the number of an instant's bucket."""
        return (instant_us - self.start_us) // self.width_us

    def starts(self) -> Iterator[int]:
        """Yield the start of each bucket, in microseconds."""
        return iter(range(self.start_us, self.end_us, self.width_us))

    def level(self, now_us: int, levels: tuple[int, ...] = LEVELS) -> int:
        """Return the width in seconds of the stored buckets to draw the window from."""
        kept = [
            level
            for level in levels
            if level != levels[0] or self.start_us >= now_us - FINEST_KEPT_US
        ]
        fitting = [level for level in kept if level * SECOND_US <= self.width_us]
        span_us = self.end_us - self.start_us
        for level in fitting:
            if span_us <= level * SECOND_US * _MAX_ROWS:
                return level
        return fitting[-1] if fitting else kept[0]

    def widest(self, level: int, levels: tuple[int, ...] = LEVELS) -> int:
        """Return the level with the fewest rows that say the same as those of this one.

        Its buckets begin with those of the window, and fill each of them.
        """
        fitting = [
            each
            for each in levels
            if each >= level
            and not self.width_us % (each * SECOND_US)
            and not self.start_us % (each * SECOND_US)
        ]
        return max(fitting, default=level)

    def stored(self, level: int) -> Window:
        """Return the window whose tallies to read from a level.

        It is this one if its buckets are multiples of the stored ones, or if there are
        too many to divide; otherwise, the stored buckets that overlap it.
        """
        step_us = level * SECOND_US
        is_even = not self.count or self.width_us % step_us == 0
        if is_even or self.end_us - self.start_us > step_us * _MAX_SHARED:
            return self
        return self.in_buckets(step_us)

    def in_buckets(self, width_us: int) -> Window:
        """Return the window of the whole buckets of a width that overlap this one."""
        start_us = self.start_us - self.start_us % width_us
        return Window(start_us, width_us, -((start_us - self.end_us) // width_us))

    def share_out(
        self, stored: Window, tallies: Sequence[Tally], now_us: int
    ) -> Sequence[Tally]:
        """Return a tally per bucket, from the tallies of :meth:`stored`, until now."""
        if stored == self:
            return tallies
        shares = [NOTHING] * self.count
        for begin_us, tally in zip(stored.starts(), tallies, strict=True):
            if tally is NOTHING:
                continue
            end_us = begin_us + stored.width_us
            if begin_us < now_us < end_us:
                end_us = now_us
            first = max(self.index_of(begin_us), 0)
            last = min(self.index_of(end_us - 1), self.count - 1)
            for number in range(first, last + 1):
                if shares[number] is NOTHING:
                    shares[number] = Tally()
                start_us = self.start_us + number * self.width_us
                shares[number].merge_part(
                    tally,
                    max(start_us - begin_us, 0),
                    min(start_us + self.width_us, end_us) - begin_us,
                    end_us - begin_us,
                )
        return shares


def window(
    start: datetime, end: datetime, bucket_secs: int, *, least_secs: int = 0
) -> Window:
    """Return the buckets of ``[start, end)``; the last one is whole.

    Too small a width becomes ``least_secs``. A width of 0, or an ``end`` not after
    ``start``, makes the window empty. More than 2,000 buckets are refused.
    """
    start_us, end_us = to_micros(start), to_micros(end)
    width_us = max(bucket_secs, least_secs) * SECOND_US
    if end_us <= start_us or not width_us:
        return Window(start_us, SECOND_US, 0)
    count = -((start_us - end_us) // width_us)
    if count > MAX_BUCKETS:
        least = -((start_us - end_us) // (MAX_BUCKETS * SECOND_US))
        raise InvalidInputError(
            "bucket_secs",
            f"{bucket_secs} gives {count} buckets, more than {MAX_BUCKETS}; the "
            f"smallest value for this window is {least}",
        )
    return Window(start_us, width_us, count)


def floor_to(instant_us: int, level: int) -> int:
    """Return the start of the stored bucket that contains an instant."""
    return instant_us - instant_us % (level * SECOND_US)


def cover(
    start_us: int, end_us: int, levels: tuple[int, ...] = LEVELS
) -> list[tuple[int, int, int]]:
    """Return the fewest stored buckets that begin within ``[start, end)``.

    Whole days are read as days, the ends in finer and finer buckets. Each of the
    ascending levels, in seconds, is a multiple of the one before. Returns level, start
    and end of each run of buckets.
    """
    if start_us >= end_us:
        return []
    *finer, level = levels
    if not finer:
        return [(level, start_us, end_us)]
    first = -floor_to(-start_us, level)
    last = floor_to(end_us, level)
    if first >= last:
        return cover(start_us, end_us, tuple(finer))
    return [
        *cover(start_us, first, tuple(finer)),
        (level, first, last),
        *cover(last, end_us, tuple(finer)),
    ]


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """The resources of one process; disk bytes are since the sample before.

    ``cpu_pct`` is of all cores of the machine, ``disk_used_pct`` of the volume of the
    data directory.
    """

    cpu_pct: float = 0.0
    rss_bytes: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    disk_used_pct: float = 0.0


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """The database's own figures; 0 for those that a backend does not know.

    Pool figures are of the whole server: its active, idle and possible connections.
    """

    pool_active: int = 0
    pool_idle: int = 0
    pool_max: int = 0
    db_size_bytes: int = 0
    wal_bytes: int = 0


@dataclass(slots=True)
class SampleSums:
    """Sums of one worker's samples in one bucket, with times of reads and writes."""

    samples: int = 0
    cpu_pct: float = 0.0
    rss_bytes: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    disk_used_pct: float = 0.0
    pool_active: int = 0
    pool_idle: int = 0
    pool_max: int = 0
    db_size_bytes: int = 0
    wal_bytes: int = 0
    reads: Histogram = field(default_factory=Histogram)
    writes: Histogram = field(default_factory=Histogram)

    def add(self, use: ResourceUse, health: DatabaseHealth) -> None:
        """Add one sample."""
        self.samples += 1
        for part in (use, health):
            for each in fields(part):
                name = each.name
                setattr(self, name, getattr(self, name) + getattr(part, name))

    def merge(self, other: SampleSums) -> None:
        """Add the samples of another bucket."""
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reads.merge(other.reads)
        self.writes.merge(other.writes)

    def mean(self, name: str) -> float:
        """Return the mean of a field over the samples; 0.0 without any."""
        return float(getattr(self, name)) / self.samples if self.samples else 0.0


SUMMED = tuple(f.name for f in fields(SampleSums) if f.name not in ("reads", "writes"))
