"""The pace of each queue over the last hour, for lists of queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import from_micros, to_micros
from flask_forge_jobs.model.metrics import floor_to, window
from flask_forge_jobs.storage.base import Storage

SPAN = timedelta(hours=1)
BUCKET_S = 300
# The rate is that of the newest buckets, to show what happens now.
_RECENT = 2


@dataclass(frozen=True)
class QueueRates:
    """The pace of one queue.

    Args:
        completed: Jobs completed in each bucket of 5 minutes, the oldest first. The
            last bucket is the current one.
        per_minute: Jobs completed per minute over the last 5 to 10 minutes.
        run_times: How long the jobs of the hour ran, as stored texts.
    """

    completed: Sequence[int]
    per_minute: float
    run_times: Sequence[str] = ()

    # Lists show few of many queues.
    @cached_property
    def run_p95_ms(self) -> int | None:
        """95 of 100 completed jobs of the hour ran no longer; None without one."""
        if not sum(self.completed):
            return None
        hour = Histogram()
        for text in self.run_times:
            hour.merge_text(text)
        return round(hour.percentiles(95)[0] / 1000)


# Of a queue whose pace is not shown.
NO_RATES = QueueRates((), 0.0)


def queue_rates(
    storage: Storage, queue_names: Sequence[str], *, now: datetime
) -> Mapping[str, QueueRates]:
    """Return the pace of each queue, from one statement."""
    now_us = to_micros(now)
    last = from_micros(floor_to(now_us, BUCKET_S))
    end = last + timedelta(seconds=BUCKET_S)
    cut = window(end - SPAN, end, BUCKET_S)
    stored = storage.kind_figures.pace(cut.stored(BUCKET_S), BUCKET_S, queue_names)
    elapsed_s = (now - last).total_seconds() + (_RECENT - 1) * BUCKET_S
    return {name: _rates(stored[name], cut.count, elapsed_s) for name in queue_names}


def _rates(
    stored: Iterable[tuple[int, int, str]], buckets: int, elapsed_s: float
) -> QueueRates:
    completed, run_times = [0] * buckets, []
    for number, jobs, times in stored:
        completed[number] += jobs
        run_times.append(times)
    recent = sum(completed[-_RECENT:])
    return QueueRates(completed, recent * 60 / elapsed_s, run_times)
