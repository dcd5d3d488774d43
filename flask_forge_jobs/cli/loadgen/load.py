"""A load on one queue: jobs that only note when they start."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil

from flask_forge_jobs.model.jobs import MAX_BULK_JOBS, NewJob
from flask_forge_jobs.model.outcomes import Done, Outcome
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.registry import TaskRegistry

KIND = "loadgen"
_LOOK_EVERY_S = 0.01
_STOP_WITHIN_S = 10.0
_PERCENTILES = (50, 95, 99)


@dataclass(slots=True)
class Starts:
    """The task: notes when each job starts; ``sleep_s`` is how long it then takes."""

    sleep_s: float = 0.0
    kind: str = KIND
    timeout_s: float | None = None
    concurrency: None = None
    # By job, from time.perf_counter().
    at: dict[str, float] = field(default_factory=dict)
    last: float = 0.0

    def run(self, context: TaskContext, _payload: str) -> Outcome:
        """Note the time, and sleep."""
        self.at[context.job_id] = time.perf_counter()
        if self.sleep_s:
            context.cancel.wait(self.sleep_s)
        self.last = time.perf_counter()
        return Done()


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a load; times in seconds."""

    enqueued: int
    enqueue_s: float
    ran: int
    run_s: float
    # From the end of the call that enqueued a job to its start, sorted.
    waits_s: list[float]

    @property
    def enqueue_rate(self) -> float:
        """Jobs enqueued a second."""
        return self.enqueued / self.enqueue_s if self.enqueue_s else 0.0

    @property
    def run_rate(self) -> float:
        """Jobs run a second."""
        return self.ran / self.run_s if self.run_s else 0.0

    def wait_percentiles(self) -> dict[str, float]:
        """Return p50, p95, p99 and the greatest wait, by nearest rank."""
        waits = self.waits_s
        if not waits:
            return {}
        ranked = {
            f"p{each}": waits[ceil(len(waits) * each / 100) - 1]
            for each in _PERCENTILES
        }
        return {**ranked, "max": waits[-1]}


@dataclass(frozen=True, slots=True)
class Load:
    """A load on one queue."""

    storage: Storage
    queue_name: str
    threads: int
    sleep_s: float
    limit_s: float

    def drain(self, jobs: int) -> Measured:
        """Enqueue jobs in bulk, then run them all."""
        task = Starts(self.sleep_s)
        new = NewJob(KIND, queue_name=self.queue_name)
        began = time.perf_counter()
        for number in _portions(jobs):
            self.storage.jobs.enqueue_many([new] * number)
        enqueue_s = time.perf_counter() - began
        began = time.perf_counter()
        with self._working(task):
            _wait_until(lambda: len(task.at) >= jobs, self.limit_s)
        run_s = max(task.last - began, 0.0)
        return Measured(jobs, enqueue_s, len(task.at), run_s, [])

    def pickup(self, rate: float) -> Measured:
        """Enqueue one job after the other at a rate, while a worker runs them."""
        task = Starts(self.sleep_s)
        new = NewJob(KIND, queue_name=self.queue_name)
        enqueued: dict[str, float] = {}
        spent_s = 0.0
        with self._working(task):
            began = time.perf_counter()
            for number in range(max(round(rate * self.limit_s), 1)):
                _sleep_until(began + number / rate)
                start = time.perf_counter()
                job_id = self.storage.jobs.enqueue(new).id
                enqueued[job_id] = time.perf_counter()
                spent_s += enqueued[job_id] - start
            _wait_until(lambda: len(task.at) >= len(enqueued), _STOP_WITHIN_S)
        # A job may start before the call that enqueued it returns.
        waits = sorted(max(at - enqueued[id_], 0.0) for id_, at in task.at.items())
        run_s = max(task.last - began, 0.0)
        return Measured(len(enqueued), spent_s, len(task.at), run_s, waits)

    @contextlib.contextmanager
    def _working(self, task: Starts) -> Iterator[None]:
        """Run a worker for the time of a block; after an error, wait for no job."""
        registry = TaskRegistry()
        registry.add(task)
        runtime = QueueRuntime(self.storage, registry, threads=self.threads)
        handle = runtime.with_queues([self.queue_name]).start()
        grace_s = 0.0
        try:
            yield
            grace_s = _STOP_WITHIN_S
        finally:
            handle.shutdown_graceful(grace_s)


def _portions(jobs: int) -> Iterator[int]:
    while jobs > 0:
        yield min(jobs, MAX_BULK_JOBS)
        jobs -= MAX_BULK_JOBS


def _wait_until(is_reached: Callable[[], bool], limit_s: float) -> None:
    end = time.perf_counter() + limit_s
    never = threading.Event()
    while not is_reached() and time.perf_counter() < end:
        never.wait(_LOOK_EVERY_S)


def _sleep_until(instant: float) -> None:
    left = instant - time.perf_counter()
    if left > 0:
        time.sleep(left)
