"""InlineWorker: runs jobs one after the other where it is called.

Claim, run and outcome are handled as in a worker process. What needs its threads is
missing: nobody enforces time limits, asks a job to stop or renews it, and a task that
wants a process of its own runs here.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.outcomes import Dead, Failed, Outcome
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.outcome_mapper import OutcomeMapper
from flask_forge_jobs.runtime.plan import RuntimePlan
from flask_forge_jobs.tasks.context import EnqueueJob

# Each takes some twenty frames of the stack, of which Python has a thousand.
MOST_NESTED = 20
_depth: ContextVar[int] = ContextVar("forge_jobs_inline_depth", default=0)


@contextlib.contextmanager
def one_deeper(kind: str) -> Iterator[None]:
    """Within the block, jobs that a job enqueues are one level deeper.

    Raises:
        RuntimeError: There are 20 levels already.
    """
    depth = _depth.get() + 1
    if depth > MOST_NESTED:
        raise RuntimeError(
            f"{MOST_NESTED} jobs run within one another; does {kind} enqueue itself "
            "without end? FORGE_JOBS_INLINE='off' leaves jobs in the queue"
        )
    token = _depth.set(depth)
    try:
        yield
    finally:
        _depth.reset(token)


@dataclass(frozen=True, slots=True)
class Run:
    """One run that has ended, its outcome stored.

    Args:
        job: As it was claimed.
        outcome: How it ended.
        error: What the task raised, its traceback included; None when it returned.
    """

    job: ClaimedJob
    outcome: Outcome
    error: BaseException | None

    def raise_error(self) -> None:
        """Raise what the task raised, unless it is done or only snoozed."""
        if not isinstance(self.outcome, Failed | Dead):
            return
        if self.error is not None:
            raise self.error
        if isinstance(self.outcome, Dead):
            raise self.outcome
        raise RuntimeError(f"{self.job.kind} failed: {self.outcome.message}")


class InlineWorker:
    """A worker without threads.

    Args:
        plan: Says what it runs and how; its queues do not matter.
        enqueue: Stores a follow-up job; the storage does by default.
    """

    def __init__(self, plan: RuntimePlan, *, enqueue: EnqueueJob | None = None) -> None:
        self._storage = plan.storage
        self._clock = plan.clock
        self._worker_id = plan.ids.new()
        self._raised: list[BaseException] = []
        self._runner = plan.runner(
            plan.registry,
            self._worker_id,
            concurrency=plan.storage.concurrency,
            report=self._report,
            enqueue=enqueue,
            dispose=self._raised.append,
        )
        self._mapper = OutcomeMapper(
            self._settings_of, plan.jitter, plan.mask, plan.registry.get
        )

    def run_next(self, queue_names: Iterable[str]) -> Run | None:
        """Run the first job that is due in the first queue that has one."""
        for name in queue_names:
            for job in self._storage.jobs.claim(name, self._worker_id):
                return self._run(job)
        return None

    def run_one(self, job_id: str) -> Run | None:
        """Run a certain job; None when it may not start now."""
        job = self._storage.jobs.claim_one(job_id, self._worker_id)
        return None if job is None else self._run(job)

    def _run(self, job: ClaimedJob) -> Run:
        self._raised.clear()
        execution = self._started(job)
        outcome = self._runner.run(execution)
        execution.ended_at = self._clock.monotonic()
        update = self._mapper.update(execution, outcome)
        if update is not None:
            refused = self._storage.jobs.finish(self._worker_id, [update])
            self._storage.recorder.ended([update], refused)
        # What the clean-up of the context raises comes after what the task raised.
        return Run(job, outcome, self._raised[0] if self._raised else None)

    def _started(self, job: ClaimedJob) -> Execution:
        now = self._clock.monotonic()
        limit_s = self._runner.timeout_of(job)
        return Execution(
            job,
            claimed_at=now,
            started_at=now,
            timeout_s=limit_s,
            stops_at=None if limit_s is None else now + limit_s,
            thread_id=threading.get_ident(),
        )

    def _report(self, execution: Execution, text: str) -> None:
        self._storage.jobs.heartbeat(self._worker_id, {execution.job.id: text})

    def _settings_of(self, queue_name: str) -> QueueSettings:
        found = {queue.name: queue for queue in self._storage.queues.all()}
        return found.get(queue_name) or QueueSettings(queue_name)
