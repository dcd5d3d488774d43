"""Recorder: counts in memory what this process does to jobs.

Every process that enqueues or runs jobs has one; nothing here waits for anything but a
short lock. A :class:`~flask_forge_jobs.storage.flusher.Flusher` takes the figures away
and stores them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.metrics import FINEST, Histogram, Tally
from flask_forge_jobs.model.outcomes import Settlement

# Whoever may enqueue may invent kinds: beyond so many combinations of queue and kind a
# process counts the others together, so that rows and label values stay few.
MAX_COMBINATIONS = 1000
OTHER_KINDS = "_other"
_FINEST_US = FINEST * SECOND_US


@dataclass(frozen=True, slots=True)
class Operations:
    """How long the verbs on jobs took."""

    reads: Histogram = field(default_factory=Histogram)
    writes: Histogram = field(default_factory=Histogram)


class Recorder:
    """Counts by queue and kind, and times the storage.

    Args:
        clock: Decides which bucket an event belongs to.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.on_activity: Callable[[], None] = lambda: None
        """Called when something was counted after nothing had been."""
        self._reset()
        # A child that kept its parent's figures would count them once more.
        reset = weakref.WeakMethod(self._reset)
        os.register_at_fork(after_in_child=lambda: (method := reset()) and method())

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[tuple[int, str, str], Tally] = {}
        self._combinations: set[tuple[str, str]] = set()
        self._operations = Operations()

    # -- what happens ----------------------------------------------------------------

    def enqueued(self, queue_name: str, kind: str, jobs: int = 1) -> None:
        """Count new jobs."""
        bucket_us = self._bucket_us()
        with self._lock:
            was_idle = not self._tallies
            self._tally(bucket_us, queue_name, kind).enqueued += jobs
        if was_idle:
            self.on_activity()

    def enqueued_many(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Count new jobs by queue and kind."""
        for (queue_name, kind), count in Counter(jobs).items():
            self.enqueued(queue_name, kind, count)

    def started(self, queue_name: str, kind: str, wait_us: int) -> None:
        """Count a run that began and goes on; :meth:`ended` counts the others.

        Args:
            queue_name: The job's queue.
            kind: The job's kind.
            wait_us: How long the job has been due.
        """
        bucket_us = self._bucket_us()
        with self._lock:
            was_idle = not self._tallies
            tally = self._tally(bucket_us, queue_name, kind)
            tally.started += 1
            tally.wait.record(wait_us)
        if was_idle:
            self.on_activity()

    def ended(
        self, settlements: Iterable[Settlement], refused: Collection[str] = ()
    ) -> None:
        """Count runs whose end is stored.

        Args:
            settlements: How they ended. One that never started counts for nothing: it
                went back to its queue as if nobody had touched it.
            refused: Ids of those that were not this process's to end.
        """
        bucket_us = self._bucket_us()
        with self._lock:
            was_idle = not self._tallies
            for each in settlements:
                if each.run_us is None or each.job.id in refused:
                    continue
                tally = self._tally(bucket_us, each.job.queue_name, each.job.kind)
                if each.wait_us is not None:
                    tally.started += 1
                    tally.wait.record(each.wait_us)
                if each.status is JobStatus.DONE:
                    tally.completed += 1
                    tally.run.record(each.run_us)
                    tally.total.record(each.total_us)
                elif each.status is JobStatus.DEAD:
                    tally.failed += 1
                else:
                    tally.retried += 1
            is_active = was_idle and bool(self._tallies)
        if is_active:
            self.on_activity()

    def revived(self, queue_name: str, kind: str, status: JobStatus) -> None:
        """Count a run that its process never ended."""
        bucket_us = self._bucket_us()
        with self._lock:
            was_idle = not self._tallies
            tally = self._tally(bucket_us, queue_name, kind)
            if status is JobStatus.DEAD:
                tally.failed += 1
            else:
                tally.retried += 1
        if was_idle:
            self.on_activity()

    def read(self, seconds: float) -> None:
        """Note how long a read of jobs took."""
        with self._lock:
            self._operations.reads.record(int(seconds * SECOND_US))

    def wrote(self, seconds: float) -> None:
        """Note how long a write of jobs took."""
        with self._lock:
            self._operations.writes.record(int(seconds * SECOND_US))

    # -- what is made of it ----------------------------------------------------------

    def take(self) -> dict[tuple[int, str, str], Tally]:
        """Return what was counted since the last call.

        Returns:
            Tallies by start of the bucket in microseconds, queue and kind.
        """
        with self._lock:
            tallies, self._tallies = self._tallies, {}
            return tallies

    def take_operations(self) -> Operations:
        """Return the times noted since the last call."""
        with self._lock:
            operations, self._operations = self._operations, Operations()
            return operations

    def _bucket_us(self) -> int:
        now_us = self._clock.now_us()
        return now_us - now_us % _FINEST_US

    def _tally(self, bucket_us: int, queue_name: str, kind: str) -> Tally:
        key = (bucket_us, queue_name, kind)
        tally = self._tallies.get(key)
        return self._new_tally(*key) if tally is None else tally

    def _new_tally(self, bucket_us: int, queue_name: str, kind: str) -> Tally:
        combination = (queue_name, kind)
        if combination not in self._combinations:
            if len(self._combinations) >= MAX_COMBINATIONS:
                key = (bucket_us, queue_name, OTHER_KINDS)
                return self._tallies.setdefault(key, Tally())
            self._combinations.add(combination)
        tally = self._tallies[bucket_us, queue_name, kind] = Tally()
        return tally
