"""Metrics: tallies of jobs, and the arithmetic of buckets.

Figures are kept in buckets of several widths side by side, so that a chart of an hour
and one of a month read about as many rows. A bucket belongs to whatever interval it
begins in, so adjacent intervals never count one twice. Intervals that do not hold whole
buckets share them out by time, for the same reason to the last job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import DAY_US, SECOND_US, to_micros

MAX_BUCKETS = 2000
# Widths of the stored buckets in seconds. Days are also what the counters of
# Prometheus are added up from.
LEVELS = (10, 60, 300, 1800, 86_400)
FINEST, DAY = LEVELS[0], LEVELS[-1]
# The finest buckets are kept this long, so that a window of a day may ask for them,
# all others for KEPT_US.
FINEST_KEPT_US = DAY_US + 3600 * SECOND_US
KEPT_US = 30 * DAY_US
# A chart reads the finest level that has no more buckets than this in its window.
_MOST_ROWS = 1500
# Most stored buckets that are shared out: those of any window whose buckets are
# narrower than half an hour.
_MOST_SHARED = 6 * MAX_BUCKETS


class MetricKey(NamedTuple):
    """Which bucket a tally belongs to.

    Empty text stands for all: no kind for all kinds of a queue, neither for all jobs.
    """

    level: int
    bucket_us: int
    queue_name: str
    kind: str


@dataclass(slots=True)
class Tally:
    """What happened to jobs of one queue and kind within one bucket.

    What started and has neither completed, failed nor been retried is running now.

    Args:
        enqueued: New jobs.
        started: Runs that began.
        retried: Runs that ended with the job waiting again.
        completed: Jobs that ended ``done``.
        failed: Jobs that ended ``dead``.
        wait: From due to started, of every run.
        run: From started to finished, of completed jobs.
        total: From enqueued to finished, of completed jobs.
    """

    enqueued: int = 0
    started: int = 0
    retried: int = 0
    completed: int = 0
    failed: int = 0
    wait: Histogram = field(default_factory=Histogram)
    run: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)

    def merge(self, other: Tally) -> None:
        """Add another tally."""
        self.enqueued += other.enqueued
        self.started += other.started
        self.retried += other.retried
        self.completed += other.completed
        self.failed += other.failed
        self.wait.merge(other.wait)
        self.run.merge(other.run)
        self.total.merge(other.total)

    def merge_part(self, other: Tally, begin: int, end: int, whole: int) -> None:
        """Add what falls into a part of another tally's bucket, spread evenly over it.

        All parts of a bucket have whole counts that add up to the tally. A duration
        counts once for each unit of the part, so percentiles of merged parts are right,
        counts of durations are not.

        Args:
            other: The tally of the whole bucket.
            begin: Where the part begins, in any unit from the start of the bucket.
            end: Where it ends.
            whole: The length of the bucket.
        """

        def part(count: int) -> int:
            return count * end // whole - count * begin // whole

        completed = part(other.completed)
        self.enqueued += part(other.enqueued)
        self.started += part(other.started)
        self.retried += part(other.retried)
        self.completed += completed
        self.failed += part(other.failed)
        if completed:
            self.wait.merge_times(other.wait, end - begin)
            self.run.merge_times(other.run, end - begin)
            self.total.merge_times(other.total, end - begin)


NOTHING = Tally()
"""The tally of every bucket in which nothing happened; nobody adds to it."""


@dataclass(frozen=True, slots=True)
class Window:
    """An interval cut into buckets that are aligned to its start.

    Args:
        start_us: Where the first bucket begins.
        width_us: Width of a bucket.
        count: How many there are; 0 for an empty window.
    """

    start_us: int
    width_us: int
    count: int

    @property
    def end_us(self) -> int:
        """Where the last bucket ends."""
        return self.start_us + self.count * self.width_us

    def index_of(self, instant_us: int) -> int:
        """Return the number of the bucket that holds an instant."""
        return (instant_us - self.start_us) // self.width_us

    def starts(self) -> Iterator[int]:
        """Yield where each bucket begins, in microseconds."""
        return iter(range(self.start_us, self.end_us, self.width_us))

    def level(self, now_us: int, levels: tuple[int, ...] = LEVELS) -> int:
        """Return the width in seconds of the stored buckets to draw the window from.

        Args:
            now_us: Decides which levels are still kept.
            levels: The widths there are, ascending.
        """
        kept = [
            level
            for level in levels
            if level != levels[0] or self.start_us >= now_us - FINEST_KEPT_US
        ]
        fitting = [level for level in kept if level * SECOND_US <= self.width_us]
        span_us = self.end_us - self.start_us
        for level in fitting:
            if span_us <= level * SECOND_US * _MOST_ROWS:
                return level
        return fitting[-1] if fitting else kept[0]

    def stored(self, level: int) -> Window:
        """Return the window of which to read the tallies.

        Args:
            level: Width in seconds of the stored buckets.

        Returns:
            This window, if its buckets are whole stored ones wide, or if it holds too
            many of them; else the stored buckets that overlap it.
        """
        step_us = level * SECOND_US
        is_even = not self.count or self.width_us % step_us == 0
        if is_even or self.end_us - self.start_us > step_us * _MOST_SHARED:
            return self
        start_us = floor_to(self.start_us, level)
        return Window(start_us, step_us, -((start_us - self.end_us) // step_us))

    def share_out(
        self, stored: Window, tallies: Sequence[Tally], now_us: int
    ) -> Sequence[Tally]:
        """Return a tally for each bucket.

        Args:
            stored: What :meth:`stored` returned.
            tallies: A tally for each of its buckets.
            now_us: Nothing has happened yet after this instant.
        """
        if stored == self:
            return tallies
        found = [NOTHING] * self.count
        for begin_us, tally in zip(stored.starts(), tallies, strict=True):
            if tally is NOTHING:
                continue
            end_us = begin_us + stored.width_us
            if begin_us < now_us < end_us:
                end_us = now_us
            first = max(self.index_of(begin_us), 0)
            last = min(self.index_of(end_us - 1), self.count - 1)
            for number in range(first, last + 1):
                if found[number] is NOTHING:
                    found[number] = Tally()
                start_us = self.start_us + number * self.width_us
                found[number].merge_part(
                    tally,
                    max(start_us - begin_us, 0),
                    min(start_us + self.width_us, end_us) - begin_us,
                    end_us - begin_us,
                )
        return found


def window(
    start: datetime, end: datetime, bucket_secs: int, *, least_secs: int = 0
) -> Window:
    """Return the buckets of ``[start, end)``; the last one is whole.

    Args:
        start: Where the first bucket begins.
        end: Not included; one at or before ``start`` makes the window empty.
        bucket_secs: Width in seconds; 0 makes the window empty.
        least_secs: A smaller width is raised to this one.

    Raises:
        InvalidInputError: Field ``bucket_secs``: there would be more than 2,000.
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
            f"{bucket_secs} makes {count} buckets of the window, more than "
            f"{MAX_BUCKETS}; the least for it is {least}",
        )
    return Window(start_us, width_us, count)


def floor_to(instant_us: int, level: int) -> int:
    """Return where the stored bucket that holds an instant begins."""
    return instant_us - instant_us % (level * SECOND_US)


def cover(
    start_us: int, end_us: int, levels: tuple[int, ...] = LEVELS
) -> list[tuple[int, int, int]]:
    """Return the fewest stored buckets that begin within an interval.

    Whole days are read as days, what is left at both ends in finer and finer buckets,
    down to the finest level.

    Args:
        start_us: Where the interval begins.
        end_us: Where it ends, not included.
        levels: The widths there are in seconds, ascending, each a multiple of the one
            before.

    Returns:
        Level, start and end of each run of buckets.
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
