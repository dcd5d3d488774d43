"""The pace of each queue over the last hour, for lists of queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_forge_jobs.model.instants import from_micros, to_micros
from flask_forge_jobs.model.metrics import NOTHING, Tally, floor_to, window
from flask_forge_jobs.storage.base import Storage

SPAN = timedelta(hours=1)
BUCKET_S = 300
# The rate is that of the newest buckets, to show what happens now.
_RECENT = 2


@dataclass(frozen=True, slots=True)
class QueueRates:
    """The pace of one queue.

    Args:
        completed: Jobs completed in each bucket of 5 minutes, the oldest first. The
            last bucket is the current one.
        per_minute: Jobs completed per minute over the last 5 to 10 minutes.
        run_p95_ms: 95 of 100 completed jobs of the hour ran no longer; None without
            one.
    """

    completed: Sequence[int]
    per_minute: float
    run_p95_ms: int | None


# Of a queue whose pace is not shown.
NO_RATES = QueueRates((), 0.0, None)


def queue_rates(
    storage: Storage, queue_names: Sequence[str], *, now: datetime
) -> Mapping[str, QueueRates]:
    """Return the pace of each queue, from one statement."""
    now_us = to_micros(now)
    last = from_micros(floor_to(now_us, BUCKET_S))
    end = last + timedelta(seconds=BUCKET_S)
    cut = window(end - SPAN, end, BUCKET_S)
    stored = cut.stored(BUCKET_S)
    timelines = storage.metrics.timelines(stored, BUCKET_S, queue_names)
    elapsed_s = (now - last).total_seconds() + (_RECENT - 1) * BUCKET_S
    return {name: _rates(timelines[name], elapsed_s) for name in queue_names}


def _rates(tallies: Sequence[Tally], elapsed_s: float) -> QueueRates:
    completed = [tally.completed for tally in tallies]
    hour = Tally()
    for tally in tallies:
        if tally is not NOTHING:
            hour.run.merge(tally.run)
    p95_ms = round(hour.run.percentiles(95)[0] / 1000) if sum(completed) else None
    recent = sum(completed[-_RECENT:])
    return QueueRates(completed, recent * 60 / elapsed_s, p95_ms)
