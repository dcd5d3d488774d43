"""Worker runtimes within the test's own process, and tasks that a test steers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import EnqueueResult, Job, JobStatus, NewJob
from flask_forge_jobs.model.limits import ConcurrencyLimit
from flask_forge_jobs.model.outcomes import Done, Failed, Outcome, Throttled
from flask_forge_jobs.runtime.lease import Lease
from flask_forge_jobs.runtime.loop.dispatcher import WAKE, Inbox
from flask_forge_jobs.runtime.loop.handover import Ended, Handover
from flask_forge_jobs.runtime.run.execution import Execution, Runner, TaskEnvironment
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.runtime.slots import Slots
from flask_forge_jobs.runtime.worker import RuntimeHandle
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.limits import ConcurrencyLimits, RateLimits
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.registry import TaskRegistry
from tests.support.waiting import wait_until

# Nothing takes this long; it only turns a hang into a failure.
LIMIT_S = 30.0
_LOOK_PERIOD_S = 0.01
WORKER_ID = "host-1"
# For runners whose tasks take no tokens.
NO_RATE_LIMITS = cast("RateLimits", None)
# For runners whose tasks may run any number of jobs at once.
NO_CONCURRENCY = cast("ConcurrencyLimits", None)


class HeldTask:
    """Runs until the test lets it go.

    Args:
        kind: Kind of its jobs.
        timeout_s: Its time limit.
        obeys: Whether it ends when its token trips.
        concurrency: How many of its jobs may run at once.
    """

    def __init__(
        self,
        kind: str = "held",
        *,
        timeout_s: float | None = None,
        obeys: bool = True,
        concurrency: ConcurrencyLimit | None = None,
    ) -> None:
        self.kind = kind
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.obeys = obeys
        self.contexts: list[TaskContext] = []
        self.ended_count = 0
        self.release = threading.Event()
        self._begun = threading.Semaphore(0)

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run once."""
        del payload
        self.contexts.append(context)
        self._begun.release()
        outcome: Outcome = Done()
        while not self.release.wait(_LOOK_PERIOD_S):
            if self.obeys and context.cancel.is_cancelled:
                outcome = Failed("stopped when asked")
                break
        self.ended_count += 1
        return outcome

    def wait_for_start(self, count: int = 1) -> TaskContext:
        """Wait until this many more runs have begun; return the newest context."""
        for _ in range(count):
            assert self._begun.acquire(timeout=LIMIT_S), "no run began"
        return self.contexts[-1]


class QuickTask:
    """Records jobs and calls a function for each; None means done."""

    def __init__(
        self,
        kind: str = "quick",
        function: Callable[[TaskContext], object] = lambda _: None,
        *,
        timeout_s: float | None = None,
        concurrency: ConcurrencyLimit | None = None,
    ) -> None:
        self.kind = kind
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.job_ids: list[str] = []
        self._function = function

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run once."""
        del payload
        self.job_ids.append(context.job_id)
        try:
            outcome = self._function(context)
        except Throttled as throttled:
            return throttled
        return Done() if outcome is None else cast("Outcome", outcome)


def registry_of(*tasks: HeldTask | QuickTask) -> TaskRegistry:
    """Return a registry of these tasks."""
    registry = TaskRegistry()
    for task in tasks:
        registry.add(task)
    return registry


@contextlib.contextmanager
def running(
    storage: Storage,
    registry: TaskRegistry,
    *,
    queues: Sequence[str] = ("default",),
    name: str | None = None,
    grace_s: float = 0.0,
    **options: Any,
) -> Iterator[RuntimeHandle]:
    """Run a worker; it is stopped at the end."""
    runtime = QueueRuntime(storage, registry, jitter=None, **options)
    handle = runtime.with_queues(queues).with_worker_name(name).start()
    try:
        yield handle
    finally:
        handle.shutdown_graceful(grace_s)


def add(storage: Storage, kind: str, *, queue: str = "default", **more: Any) -> str:
    """Enqueue one job and return its id."""
    return storage.jobs.enqueue(NewJob(kind, queue_name=queue, **more)).id


def wait_for_status(
    storage: Storage, job_id: str, status: JobStatus, limit_s: float = LIMIT_S
) -> Job:
    """Wait until a job is in a state, and return it."""
    wait_until(
        lambda: storage.job_reader.get(job_id).status is status,
        f"job {job_id} is {status}",
        limit_s,
    )
    return storage.job_reader.get(job_id)


def wait_for_error(storage: Storage, job_id: str) -> Job:
    """Wait until a job has a last error, and return it."""
    wait_until(
        lambda: storage.job_reader.get(job_id).last_error is not None,
        f"job {job_id} has an error",
    )
    return storage.job_reader.get(job_id)


def threads_named(prefix: str) -> list[threading.Thread]:
    """Return the living threads whose name starts like this."""
    return [each for each in threading.enumerate() if each.name.startswith(prefix)]


def runner_of(registry: TaskRegistry, clock: Clock) -> Runner:
    """Return a runner of tasks that enqueue nothing."""

    def refuse(job: NewJob) -> EnqueueResult:
        raise AssertionError(job)

    return Runner(
        registry,
        environment=TaskEnvironment(WORKER_ID, clock, refuse, NO_RATE_LIMITS),
        scope=contextlib.nullcontext,
        concurrency=NO_CONCURRENCY,
    )


class Bench:
    """A lease, slots and a handover without a dispatcher.

    Args:
        queue_names: The queues; by default ``default``.
        clock: By default the system's.
        registry: The tasks.
        threads: How many jobs may run at once.
        lease_s: How long the lease is.
    """

    def __init__(
        self,
        *queue_names: str,
        clock: Clock | None = None,
        registry: TaskRegistry | None = None,
        threads: int = 2,
        lease_s: float = 60.0,
    ) -> None:
        self.queue_names = queue_names or ("default",)
        self.clock = clock or SystemClock()
        self.lease = Lease(lease_s, self.clock)
        self.slots = Slots(self.queue_names, threads)
        self.queues = self.slots.queues
        self.inbox: Inbox = Inbox()
        self.runner = runner_of(registry or TaskRegistry(), self.clock)
        self.handover = Handover(
            self.runner, self.lease, self.slots, partial(self.inbox.put, WAKE)
        )

    @property
    def ended(self) -> list[Ended]:
        """The outcomes that no dispatcher has taken."""
        return self.handover.ended

    @property
    def is_awake(self) -> bool:
        """Whether something has woken the dispatcher."""
        return not self.inbox.empty()

    def waits(self, job: ClaimedJob) -> Execution:
        """Let a claimed job wait, without a thread."""
        execution = Execution(job, self.clock.monotonic())
        self.queues[job.queue_name].buffer.append(execution)
        self.slots.waiting += 1
        return execution

    def started(self, job: ClaimedJob, timeout_s: float | None = None) -> Execution:
        """Let a claimed job run, without a thread."""
        execution = Execution(job, self.clock.monotonic(), timeout_s=timeout_s)
        queue = self.queues[job.queue_name]
        queue.buffer.appendleft(execution)
        queue.start_next()
        self.slots.running += 1
        execution.started_at = self.clock.monotonic()
        return execution

    def put(self, execution: Execution, outcome: Outcome) -> None:
        """Let a run have ended."""
        self.handover._ended.append((execution, outcome))


def claimed(
    job_id: str = "job-1",
    kind: str = "held",
    *,
    queue: str = "default",
    attempts: int = 1,
    max_attempts: int = 5,
    error_history: str | None = None,
    timeout_s: float | None = None,
) -> ClaimedJob:
    """Return a claimed job that no database knows of."""
    return ClaimedJob(
        job_id,
        queue,
        kind,
        "{}",
        0,
        0,
        attempts,
        max_attempts,
        0,
        error_history,
        timeout_s,
    )
