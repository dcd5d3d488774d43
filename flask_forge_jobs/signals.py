"""Blinker signals for the events of jobs and workers.

The sender is the application object::

    @job_dead.connect_via(app)
    def alert(sender, context, message, **extra): ...

Accept ``**extra``: later versions may pass more. An exception in a receiver is logged
and has no other effect. A signal without receivers costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from blinker import NamedSignal, Namespace
from flask import Flask

from flask_forge_jobs import forks
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.run_end import RunEnd, end_of_run
from flask_forge_jobs.runtime.run.observer import Observer
from flask_forge_jobs.state import state_of
from flask_forge_jobs.tasks.decorator import policy_of
from flask_forge_jobs.tasks.handles import JobHandle

if TYPE_CHECKING:
    from flask_forge_jobs.model.claims import ClaimedJob
    from flask_forge_jobs.model.jobs import EnqueueResult
    from flask_forge_jobs.model.outcomes import Outcome
    from flask_forge_jobs.tasks.context import TaskContext
    from flask_forge_jobs.tasks.registry import Runnable

logger = get_logger(__name__)
_signals = Namespace()

job_enqueued = _signals.signal(
    "forge-job-enqueued",
    """Sent with ``job``, a :class:`.JobHandle`, when a job has been stored.

    Every form of ``enqueue()`` and the API send it; with ``connection=``, before the
    commit. Not sent for a duplicate, nor for the jobs of schedules.
    """,
)
job_started = _signals.signal(
    "forge-job-started",
    """Sent with ``context``, a :class:`.TaskContext`, before the task runs.

    The thread that runs the task sends it, in the application context of the run, and
    the signals of the end as well.
    """,
)
job_succeeded = _signals.signal(
    "forge-job-succeeded",
    """Sent with ``context`` when the task has returned, before that is stored.""",
)
job_failed = _signals.signal(
    "forge-job-failed",
    """Sent with ``context``, ``error`` and ``message`` when a job will be retried.

    ``error`` is the exception of the task with its traceback, or None if it raised
    none; ``message`` is its text.
    """,
)
job_dead = _signals.signal(
    "forge-job-dead",
    """Sent with ``context``, ``error`` and ``message`` when a job failed for good.""",
)
job_cancelled = _signals.signal(
    "forge-job-cancelled",
    """Sent with ``context`` when a run has stopped because a user cancelled the job.

    Not sent for a job that was cancelled while it waited.
    """,
)
job_put_back = _signals.signal(
    "forge-job-put-back",
    """Sent with ``context`` when a run has ended without ending the job.

    The job was throttled or snoozed, its worker is stopping, or another worker has it.
    """,
)
_SIGNALS = {
    RunEnd.DONE: job_succeeded,
    RunEnd.FAILED: job_failed,
    RunEnd.DEAD: job_dead,
    RunEnd.CANCELLED: job_cancelled,
}
ends_of_runs = (job_succeeded, job_failed, job_dead, job_cancelled, job_put_back)
"""One follows each ``job_started``, unless the process dies or the task never ends."""

worker_started = _signals.signal(
    "forge-worker-started",
    """Sent with ``worker_id`` and ``queues`` when a worker starts.""",
)
worker_stopped = _signals.signal(
    "forge-worker-stopped",
    """Sent with ``worker_id`` and ``queues`` when a worker has shut down cleanly.""",
)


class SignalObserver(Observer):
    """Sends the signals of one application."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def enqueued(self, results: Sequence[EnqueueResult]) -> None:
        """Send ``job_enqueued`` for each job that is new."""
        if not job_enqueued.receivers:
            return
        for result in results:
            if not result.is_deduped and not result.is_replayed:
                job = JobHandle(state_of(self._app), result.id, result)
                self._send(job_enqueued, job=job)

    def run(self, task: Runnable, context: TaskContext, job: ClaimedJob) -> Outcome:
        """Run a task between ``job_started`` and the signal of how it ended."""
        has_receivers = (
            job_started.receivers
            or job_succeeded.receivers
            or job_failed.receivers
            or job_dead.receivers
            or job_cancelled.receivers
            or job_put_back.receivers
        )
        # A task with its own process sends the signals there, where it raises.
        if not has_receivers or getattr(task, "runs_elsewhere", False):
            return task.run(context, job.payload)
        raised: list[BaseException] = []
        self._send(job_started, context=context)
        # The exception keeps its frames until every receiver has seen it.
        watched = replace(context, dispose=raised.append)
        process = forks.PID[0]
        outcome = task.run(watched, job.payload)
        if forks.PID[0] != process:
            forks.end_child(job.id)
        try:
            self._tell_end(task, context, job, outcome, raised)
        except Exception:  # must not change the outcome
            logger.exception(
                "cannot send the signal for the end of job %s", context.job_id
            )
        finally:
            for error in raised:
                context.dispose(error)
        return outcome

    def _tell_end(
        self,
        task: Runnable,
        context: TaskContext,
        job: ClaimedJob,
        outcome: Outcome,
        raised: Sequence[BaseException],
    ) -> None:
        policy = policy_of(task)
        update = end_of_run(
            job,
            outcome,
            context.cancel.reason,
            timeout_s=task.timeout_s if job.timeout_s is None else job.timeout_s,
            is_final=lambda _, error: policy.is_final(error),
            delay_s=lambda *_: 0.0,
        )
        end = RunEnd.RELEASED if update is None else update.end
        values: dict[str, object] = {}
        if update is not None and end in (RunEnd.FAILED, RunEnd.DEAD):
            values["error"] = raised[0] if raised else None
            values["message"] = update.error
        self._send(_SIGNALS.get(end, job_put_back), context=context, **values)

    def worker_started(self, worker_id: str, queues: Sequence[str]) -> None:
        """Send ``worker_started``."""
        self._send(worker_started, worker_id=worker_id, queues=tuple(queues))

    def worker_stopped(self, worker_id: str, queues: Sequence[str]) -> None:
        """Send ``worker_stopped``."""
        self._send(worker_stopped, worker_id=worker_id, queues=tuple(queues))

    def _send(self, signal: NamedSignal, **values: object) -> None:
        # One by one, so that the remaining receivers still run if one raises.
        for receiver in list(signal.receivers_for(self._app)):
            try:
                receiver(self._app, **values)
            except Exception:
                logger.exception("a receiver of the signal %s failed", signal.name)
