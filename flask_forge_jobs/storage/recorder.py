"""Counts the jobs of this process in memory, and times the storage.

Every process that enqueues or runs jobs has a :class:`Recorder`; the flusher stores its
figures.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.forks import PID, PerProcess
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.metrics import FINEST, Tally
from flask_forge_jobs.model.run_end import JobUpdate

# Callers may invent kinds. Beyond this many combinations of queue and kind a process
# counts the rest as OTHER_KINDS, which bounds rows and label values.
MAX_COMBINATIONS = 1000
OTHER_KINDS = "_other"
# Longest list of times; a longer one is folded into its histogram.
MAX_LISTED = 1000
_FINEST_US = FINEST * SECOND_US
_COUNTED = {Ending.CANCELLED: "cancelled", Ending.DEAD: "dead", None: "retried"}


@dataclass(slots=True)
class _Open:
    """A tally in the making; times wait in lists because a bulk update costs less."""

    tally: Tally = field(default_factory=Tally)
    waits_us: list[int] = field(default_factory=list)
    runs_us: list[int] = field(default_factory=list)
    totals_us: list[int] = field(default_factory=list)

    def shorten(self) -> None:
        """Bound the lists, even if nobody takes the figures."""
        if len(self.waits_us) > MAX_LISTED or len(self.runs_us) > MAX_LISTED:
            self.closed()

    def closed(self) -> Tally:
        """Return the tally of everything so far."""
        tally = self.tally
        tally.started += len(self.waits_us)
        tally.completed += len(self.runs_us)
        tally.wait.record_many(self.waits_us)
        tally.run.record_many(self.runs_us)
        tally.total.record_many(self.totals_us)
        for values_us in (self.waits_us, self.runs_us, self.totals_us):
            values_us.clear()
        return tally


@dataclass(frozen=True, slots=True)
class Operations:
    """How long the verbs on jobs took."""

    reads: Histogram = field(default_factory=Histogram)
    writes: Histogram = field(default_factory=Histogram)


class Times(PerProcess):
    """How long calls took; times wait in a list because a bulk update costs less."""

    def __init__(self) -> None:
        self.stay_own()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._histogram = Histogram()
        self._listed_us: list[int] = []

    def add(self, seconds: float) -> None:
        """Record how long one call took."""
        if self._pid != PID[0]:
            self.stay_own()
        with self._lock:
            self._listed_us.append(int(seconds * SECOND_US))
            if len(self._listed_us) > MAX_LISTED:
                listed_us, self._listed_us = self._listed_us, []
                self._histogram.record_many(listed_us)

    def take(self) -> Histogram:
        """Return the times recorded since the last call of this method."""
        self.stay_own()
        with self._lock:
            histogram, listed_us = self._histogram, self._listed_us
            self._histogram, self._listed_us = Histogram(), []
        histogram.record_many(listed_us)
        return histogram


class Recorder(PerProcess):
    """Counts by queue and kind, and times the storage."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.on_activity: Callable[[], None] = lambda: None
        """Called when the first event since the last :meth:`take` is counted."""
        self.reads, self.writes = Times(), Times()
        self.stay_own()

    def _begin(self) -> None:
        # A forked child must not count its parent's figures again.
        self._lock = threading.RLock()
        self._tallies: dict[tuple[int, str, str], _Open] = {}
        self._combinations: set[tuple[str, str]] = set()

    # -- counting --------------------------------------------------------------------

    def enqueued(
        self,
        queue_name: str,
        kind: str,
        jobs: int = 1,
        *,
        is_taken_at_once: bool = False,
    ) -> None:
        """Count new jobs; with ``is_taken_at_once`` without calling on_activity."""
        now_us = self._clock.now_us()
        # _own_lock() and _open() inlined: every enqueue runs this.
        if self._pid != PID[0]:
            self.stay_own()
        with self._lock:
            was_idle = not self._tallies
            bucket_us = now_us - now_us % _FINEST_US
            each = self._tallies.get((bucket_us, queue_name, kind))
            if each is None:
                each = self._new(bucket_us, queue_name, kind)
            each.tally.enqueued += jobs
        if was_idle and not is_taken_at_once:
            self.on_activity()

    def enqueued_many(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Count new jobs by queue and kind."""
        for (queue_name, kind), count in Counter(jobs).items():
            self.enqueued(queue_name, kind, count)

    def started(self, queue_name: str, kind: str, wait_us: int) -> None:
        """Count a run that has begun but not ended, of a job due for ``wait_us``."""
        now_us = self._clock.now_us()
        with self._own_lock():
            was_idle = not self._tallies
            self._open(now_us, queue_name, kind).waits_us.append(wait_us)
        if was_idle:
            self.on_activity()

    def ended(
        self, updates: Iterable[JobUpdate], refused: Collection[str] = ()
    ) -> None:
        """Count runs whose end is stored.

        A job that never started went back to its queue, so it does not count, unless it
        was cancelled there. Of the jobs in ``refused`` the runs were no longer the
        owners.
        """
        now_us = self._clock.now_us()
        with self._own_lock():
            was_idle = not self._tallies
            names: tuple[str, str] | None = None
            for each in updates:
                run_us, job = each.run_us, each.job
                if run_us is None:
                    if not each.is_cancelled or job.id in refused:
                        continue
                    run_us = 0
                if names is None or job.kind != names[1] or job.queue_name != names[0]:
                    names = (job.queue_name, job.kind)
                    open_tally = self._open(now_us, *names)
                    open_tally.shorten()
                if refused and job.id in refused:
                    open_tally.tally.refused += 1
                    continue
                if each.wait_us is not None:
                    open_tally.waits_us.append(each.wait_us)
                if each.status is JobStatus.DONE:
                    open_tally.runs_us.append(run_us)
                    open_tally.totals_us.append(each.total_us)
                elif each.is_cancelled:
                    open_tally.tally.cancelled += 1
                elif each.status is JobStatus.DEAD:
                    open_tally.tally.dead += 1
                else:
                    open_tally.tally.retried += 1
            is_active = was_idle and bool(self._tallies)
        if is_active:
            self.on_activity()

    def refused(self, queue_name: str, kind: str) -> None:
        """Count a run that lost its job before it ended."""
        self._count(queue_name, kind, "refused")

    def rescued(self, queue_name: str, kind: str, ending: Ending | None) -> None:
        """Count a run whose process died or lost its job; None means a retry."""
        self._count(queue_name, kind, _COUNTED[ending])

    def cancelled_many(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Count jobs by queue and kind that a user cancelled while they waited."""
        for names, count in Counter(jobs).items():
            self._count(*names, "cancelled", count)

    def _count(self, queue_name: str, kind: str, name: str, count: int = 1) -> None:
        now_us = self._clock.now_us()
        with self._own_lock():
            was_idle = not self._tallies
            tally = self._open(now_us, queue_name, kind).tally
            setattr(tally, name, getattr(tally, name) + count)
        if was_idle:
            self.on_activity()

    # -- taking the figures ----------------------------------------------------------

    def take(self) -> dict[tuple[int, str, str], Tally]:
        """Return tallies since the last call by bucket start in µs, queue and kind."""
        with self._own_lock():
            taken, self._tallies = self._tallies, {}
        return {key: open_tally.closed() for key, open_tally in taken.items()}

    def take_operations(self) -> Operations:
        """Return the times recorded since the last call."""
        return Operations(self.reads.take(), self.writes.take())

    def _own_lock(self) -> AbstractContextManager[object]:
        if self._pid != PID[0]:
            self.stay_own()
        return self._lock

    def _open(self, now_us: int, queue_name: str, kind: str) -> _Open:
        bucket_us = now_us - now_us % _FINEST_US
        open_tally = self._tallies.get((bucket_us, queue_name, kind))
        return (
            self._new(bucket_us, queue_name, kind) if open_tally is None else open_tally
        )

    def _new(self, bucket_us: int, queue_name: str, kind: str) -> _Open:
        combination = (queue_name, kind)
        if combination not in self._combinations:
            if len(self._combinations) >= MAX_COMBINATIONS:
                key = (bucket_us, queue_name, OTHER_KINDS)
                return self._tallies.setdefault(key, _Open())
            self._combinations.add(combination)
        # A handler of a signal may have done the same just now.
        return self._tallies.setdefault((bucket_us, queue_name, kind), _Open())
