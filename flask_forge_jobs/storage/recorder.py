"""Recorder: counts in memory what this process does to jobs.

Every process that enqueues or runs jobs has one; nothing here waits for anything but a
short lock. A :class:`~flask_forge_jobs.storage.flusher.Flusher` takes the figures away
and stores them.

Jobs that were stored in a caller's transaction are counted once it has committed. No
driver tells of a commit, and a savepoint may be rolled back within one that does. So
the jobs themselves are looked for: what is in the table has been committed.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus
from flask_forge_jobs.model.metrics import FINEST, Tally
from flask_forge_jobs.model.outcomes import JobUpdate
from flask_forge_jobs.storage.database import Executor, encode_names

# Whoever may enqueue may invent kinds: beyond so many combinations of queue and kind a
# process counts the others together, so that rows and label values stay few.
MAX_COMBINATIONS = 1000
OTHER_KINDS = "_other"
# More times than that are not listed one by one.
MOST_LISTED = 10_000
_FINEST_US = FINEST * SECOND_US


@dataclass(slots=True)
class _Open:
    """A tally in the making; times wait in lists, which cost less together."""

    tally: Tally = field(default_factory=Tally)
    waits_us: list[int] = field(default_factory=list)
    runs_us: list[int] = field(default_factory=list)
    totals_us: list[int] = field(default_factory=list)

    def shorten(self) -> None:
        """Keep the lists short although nobody takes the figures away."""
        if len(self.waits_us) > MOST_LISTED or len(self.runs_us) > MOST_LISTED:
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
    """How long calls took; a list and later a histogram, which costs less together."""

    def __init__(self) -> None:
        self.stay_own()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._histogram = Histogram()
        self._listed_us: list[int] = []

    def add(self, seconds: float) -> None:
        """Note how long one call took."""
        if self._pid != os.getpid():
            self.stay_own()
        with self._lock:
            self._listed_us.append(int(seconds * SECOND_US))
            if len(self._listed_us) > MOST_LISTED:
                self._histogram.record_many(self._listed_us)
                self._listed_us.clear()

    def take(self) -> Histogram:
        """Return the times that were noted since the last call."""
        self.stay_own()
        with self._lock:
            histogram, listed_us = self._histogram, self._listed_us
            self._histogram, self._listed_us = Histogram(), []
        histogram.record_many(listed_us)
        return histogram


class Recorder(PerProcess):
    """Counts by queue and kind, and times the storage.

    Args:
        clock: Decides which bucket an event belongs to.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.on_activity: Callable[[], None] = lambda: None
        """Called when something was counted after nothing had been."""
        self.reads, self.writes = Times(), Times()
        self.stay_own()

    def _begin(self) -> None:
        # A child that kept its parent's figures would count them once more.
        self._lock = threading.Lock()
        self._tallies: dict[tuple[int, str, str], _Open] = {}
        self._combinations: set[tuple[str, str]] = set()

    # -- what happens ----------------------------------------------------------------

    def enqueued(
        self,
        queue_name: str,
        kind: str,
        jobs: int = 1,
        *,
        is_taken_at_once: bool = False,
    ) -> None:
        """Count new jobs.

        Args:
            queue_name: Their queue.
            kind: Their kind.
            jobs: How many.
            is_taken_at_once: Whether the caller takes the figures itself right after,
                so that nobody needs to be told of them.
        """
        now_us = self._clock.now_us()
        # As _own_lock() does, without the call: every enqueue comes by here.
        if self._pid != os.getpid():
            self.stay_own()
        with self._lock:
            was_idle = not self._tallies
            self._open(now_us, queue_name, kind).tally.enqueued += jobs
        if was_idle and not is_taken_at_once:
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

        Args:
            updates: How they ended. One that never started counts for nothing: it
                went back to its queue as if nobody had touched it.
            refused: Ids of those that were not this process's to end.
        """
        now_us = self._clock.now_us()
        with self._own_lock():
            was_idle = not self._tallies
            names: tuple[str, str] | None = None
            for each in updates:
                run_us, job = each.run_us, each.job
                if run_us is None or (refused and job.id in refused):
                    continue
                if names is None or job.kind != names[1] or job.queue_name != names[0]:
                    names = (job.queue_name, job.kind)
                    found = self._open(now_us, *names)
                    found.shorten()
                if each.wait_us is not None:
                    found.waits_us.append(each.wait_us)
                if each.status is JobStatus.DONE:
                    found.runs_us.append(run_us)
                    found.totals_us.append(each.total_us)
                elif each.status is JobStatus.DEAD:
                    found.tally.failed += 1
                else:
                    found.tally.retried += 1
            is_active = was_idle and bool(self._tallies)
        if is_active:
            self.on_activity()

    def rescued(self, queue_name: str, kind: str, status: JobStatus) -> None:
        """Count a run that its process never ended."""
        now_us = self._clock.now_us()
        with self._own_lock():
            was_idle = not self._tallies
            tally = self._open(now_us, queue_name, kind).tally
            if status is JobStatus.DEAD:
                tally.failed += 1
            else:
                tally.retried += 1
        if was_idle:
            self.on_activity()

    # -- what is made of it ----------------------------------------------------------

    def take(self) -> dict[tuple[int, str, str], Tally]:
        """Return what was counted since the last call.

        Returns:
            Tallies by start of the bucket in microseconds, queue and kind.
        """
        with self._own_lock():
            taken, self._tallies = self._tallies, {}
        return {key: found.closed() for key, found in taken.items()}

    def take_operations(self) -> Operations:
        """Return the times noted since the last call."""
        return Operations(self.reads.take(), self.writes.take())

    def _own_lock(self) -> threading.Lock:
        if self._pid != os.getpid():
            self.stay_own()
        return self._lock

    def _open(self, now_us: int, queue_name: str, kind: str) -> _Open:
        bucket_us = now_us - now_us % _FINEST_US
        found = self._tallies.get((bucket_us, queue_name, kind))
        return self._new(bucket_us, queue_name, kind) if found is None else found

    def _new(self, bucket_us: int, queue_name: str, kind: str) -> _Open:
        combination = (queue_name, kind)
        if combination not in self._combinations:
            if len(self._combinations) >= MAX_COMBINATIONS:
                key = (bucket_us, queue_name, OTHER_KINDS)
                return self._tallies.setdefault(key, _Open())
            self._combinations.add(combination)
        found = self._tallies[bucket_us, queue_name, kind] = _Open()
        return found


logger = get_logger(__name__)

# A transaction that takes longer, if it ever ends, is not counted.
GIVE_UP_AFTER_S = 600.0
FIRST_PAUSE_S = 1.0
MOST_LOOKED_FOR = 10_000
MOST_WAITING = 100_000


@dataclass(slots=True)
class _Waiting:
    queue_name: str
    kind: str
    since: float
    look_at: float


class Uncommitted(PerProcess):
    """The jobs of which it is not known yet whether they are there.

    Args:
        database: The seam to the database.
        recorder: Counts the jobs that are.
        clock: Tells how long they have been waited for.
    """

    def __init__(self, database: Executor, recorder: Recorder, clock: Clock) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock
        self.stay_own()

    def _begin(self) -> None:
        # What a parent waits for is its own to count.
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether there are such jobs."""
        self.stay_own()
        return bool(self._waiting)

    def add(self, results: Iterable[EnqueueResult]) -> None:
        """Take in what was stored in a transaction that is still open."""
        self.stay_own()
        now = self._clock.monotonic()
        new = {
            each.id: _Waiting(each.queue_name, each.kind, now, now)
            for each in results
            if not each.is_deduped and not each.is_replayed
        }
        if not new:
            return
        with self._lock:
            self._waiting.update(new)
            too_many = max(len(self._waiting) - MOST_WAITING, 0)
            excess = list(islice(self._waiting, too_many))
            for job_id in excess:
                del self._waiting[job_id]
        if excess:
            logger.warning("%s jobs of open transactions are not counted", len(excess))
        self._recorder.on_activity()

    def count_committed(self) -> None:
        """Count what has come to be there; used by one thread at a time.

        Whoever calls takes the recorder's figures right after.

        Raises:
            StorageError: Nothing is known; all of it is looked for again.
        """
        self.stay_own()
        now = self._clock.monotonic()
        with self._lock:
            due = {
                job_id: each
                for job_id, each in self._waiting.items()
                if each.look_at <= now
            }
        looked_for = list(islice(due, MOST_LOOKED_FOR))
        if not looked_for:
            return
        rows = self._database.read_one(
            "statuses", rows=encode_names("job_id", looked_for)
        )
        found = {job_id for job_id, _ in rows}
        with self._lock:
            for job_id in looked_for:
                each = due[job_id]
                waited_s = now - each.since
                if job_id in found or waited_s > GIVE_UP_AFTER_S:
                    self._waiting.pop(job_id, None)
                # Most transactions are short: look ever more rarely for the others.
                each.look_at = now + max(waited_s, FIRST_PAUSE_S)
        came = Counter((due[job_id].queue_name, due[job_id].kind) for job_id in found)
        for (queue_name, kind), jobs in came.items():
            self._recorder.enqueued(queue_name, kind, jobs, is_taken_at_once=True)
