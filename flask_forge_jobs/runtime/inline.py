"""Inline: jobs and direct calls of tasks that run in the calling thread.

Claims and outcomes of jobs are handled as in a worker process. Time limits,
cancellation and heartbeats need its threads and are missing, and isolated tasks run in
this process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.outcomes import Dead, Failed, Outcome
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.steps import Checkpoint
from flask_forge_jobs.runtime.plan import RuntimePlan
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.job_log import JobLog
from flask_forge_jobs.runtime.run.outcome import OutcomeMapper
from flask_forge_jobs.runtime.run.run_log import ReportingRun
from flask_forge_jobs.tasks.context import EnqueueJob
from flask_forge_jobs.tasks.failures import below_ours

# Each level takes about twenty of Python's thousand stack frames.
MAX_NESTED = 20
_depth: ContextVar[int] = ContextVar("forge_jobs_inline_depth", default=0)


@contextlib.contextmanager
def one_deeper(kind: str) -> Iterator[None]:
    """Count a level of nested jobs; raise RuntimeError beyond 20."""
    depth = _depth.get() + 1
    if depth > MAX_NESTED:
        raise RuntimeError(
            f"{MAX_NESTED} jobs run inside one another; does {kind} enqueue itself "
            "endlessly? Set FORGE_JOBS_INLINE='off' to leave jobs in the queue"
        )
    token = _depth.set(depth)
    try:
        yield
    finally:
        _depth.reset(token)


@dataclass(frozen=True, slots=True)
class InlineRun:
    """A run whose outcome is stored; ``error`` is the task's exception."""

    job: ClaimedJob
    outcome: Outcome
    error: BaseException | None

    def raise_error(self, advice: str | None = None) -> None:
        """If the run failed, raise the task's exception, with advice as a note."""
        __tracebackhide__ = True
        if not isinstance(self.outcome, Failed | Dead):
            return
        if self.error is not None:
            if advice is not None:
                self.error.add_note(f"raised by a job of {self.job.kind}; {advice}")
            raise self.error.with_traceback(below_ours(self.error))
        if isinstance(self.outcome, Dead):
            raise self.outcome
        raise RuntimeError(f"{self.job.kind} failed: {self.outcome.message}")


class InlineWorker:
    """A worker without threads; it ignores the queues of the plan."""

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
            save_checkpoint=self._save,
        )
        self._log = JobLog(plan.clock)
        self._mapper = OutcomeMapper(
            self._settings_of, plan.jitter, plan.mask, plan.registry.get
        )

    def run_next(self, queue_names: Iterable[str]) -> InlineRun | None:
        """Run the first due job of the first queue that has one."""
        for name in queue_names:
            for job in self._storage.jobs.claim(name, self._worker_id):
                return self._run(job)
        return None

    def run_one(self, job_id: str) -> InlineRun | None:
        """Run a job by id; return None if it may not start now."""
        job = self._storage.jobs.claim_one(job_id, self._worker_id)
        return None if job is None else self._run(job)

    def _run(self, job: ClaimedJob) -> InlineRun:
        self._raised.clear()
        now, limit_s = self._clock.monotonic(), self._runner.timeout_of(job)
        execution = Execution(job, now, timeout_s=limit_s, started_at=now)
        outcome = self._runner.run(execution)
        execution.ended_at = self._clock.monotonic()
        update = self._mapper.update(execution, outcome)
        if update is not None:
            written = self._storage.jobs.exchange(self._worker_id, [update], {})
            self._storage.recorder.ended([update], written.refused)
            if not written.refused:
                self._log.write([update])
            self._storage.batches.fold(written.noted)
        # The first exception is the task's; others come from leaving the context.
        return InlineRun(job, outcome, self._raised[0] if self._raised else None)

    def _report(self, execution: Execution, text: str, _: int) -> None:
        self._storage.jobs.heartbeat(self._worker_id, {execution.job.id: text})

    def _save(self, _: ReportingRun, checkpoint: Checkpoint) -> None:
        self._storage.jobs.heartbeat(self._worker_id, {}, saved=[checkpoint])

    def _settings_of(self, queue_name: str) -> QueueSettings:
        settings = {queue.name: queue for queue in self._storage.queues.all()}
        return settings.get(queue_name) or QueueSettings(queue_name)
