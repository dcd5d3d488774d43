"""Blinker signals: what happens to jobs and workers, told to whoever connects.

The sender is the application object. A receiver takes ``**extra``, since more may be
passed one day. What a receiver raises is logged and changes nothing. Without a receiver
a signal costs a look at whether there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from blinker import NamedSignal, Namespace
from flask import Flask

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus
from flask_forge_jobs.model.outcomes import Done, Outcome, update_for
from flask_forge_jobs.state import state_of
from flask_forge_jobs.tasks.cancellation import CancelReason
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import policy_of
from flask_forge_jobs.tasks.endings import of_time_limit
from flask_forge_jobs.tasks.handles import JobHandle
from flask_forge_jobs.tasks.observer import Observer
from flask_forge_jobs.tasks.registry import Runnable

logger = get_logger(__name__)
_signals = Namespace()

job_enqueued = _signals.signal(
    "forge-job-enqueued",
    """Sent with ``job``, a :class:`.JobHandle`, once the job is stored.

    By ``enqueue()`` in all its forms and by requests to the API. A job that is stored
    with ``connection=`` is told of before the commit. Not sent for a job that was there
    already, nor for the jobs of schedules.
    """,
)
job_started = _signals.signal(
    "forge-job-started",
    """Sent with ``context``, the :class:`.TaskContext` of the run, before its task.

    This one and those of the end are sent by the thread that runs the task, in the
    application context of the run.
    """,
)
job_succeeded = _signals.signal(
    "forge-job-succeeded",
    """Sent with ``context`` when the task has returned, just before that is stored.""",
)
job_failed = _signals.signal(
    "forge-job-failed",
    """Sent with ``context``, ``error`` and ``message`` when a retry will follow.

    ``error`` is what the task raised, with its traceback, or None when it raised
    nothing; ``message`` is its text.
    """,
)
job_dead = _signals.signal(
    "forge-job-dead",
    """Sent with ``context``, ``error`` and ``message`` when no retry will follow.""",
)
job_cancelled = _signals.signal(
    "forge-job-cancelled",
    """Sent with ``context`` when a run has stopped because a user wanted it to.

    A job that is cancelled while it waits never runs, and is not told of.
    """,
)
job_put_back = _signals.signal(
    "forge-job-put-back",
    """Sent with ``context`` when a run has ended and the job has not.

    It was throttled or put off, the worker stops, or the job is another worker's.
    """,
)
ends_of_runs = (job_succeeded, job_failed, job_dead, job_cancelled, job_put_back)
"""The signals of which one follows each ``job_started``."""

worker_started = _signals.signal(
    "forge-worker-started",
    """Sent with ``worker_id`` and ``queues`` when a worker begins to take jobs.""",
)
worker_stopped = _signals.signal(
    "forge-worker-stopped",
    """Sent with ``worker_id`` and ``queues`` when a worker has stopped in order.""",
)


class SignalObserver(Observer):
    """Turns what happens into signals.

    Args:
        app: Their sender.
    """

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
        is_told = (
            job_started.receivers
            or job_succeeded.receivers
            or job_failed.receivers
            or job_dead.receivers
            or job_cancelled.receivers
            or job_put_back.receivers
        )
        # A task with a process of its own is told of there, where it raises.
        if not is_told or getattr(task, "runs_elsewhere", False):
            return task.run(context, job.payload)
        raised: list[BaseException] = []
        self._send(job_started, context=context)
        # What was raised keeps its frames until everybody has seen it.
        watched = replace(context, dispose=raised.append)
        outcome = task.run(watched, job.payload)
        try:
            self._tell_end(task, context, job, outcome, raised)
        except Exception:  # the run has ended all the same
            logger.exception("nobody is told how job %s ended", context.job_id)
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
        reason = context.cancel.reason
        stands = isinstance(outcome, Done)
        if reason is CancelReason.LOST or (
            reason is CancelReason.SHUTDOWN and not stands
        ):
            self._send(job_put_back, context=context)
            return
        if reason is CancelReason.TIMEOUT and not stands:
            limit_s = task.timeout_s if job.timeout_s is None else job.timeout_s
            outcome = of_time_limit(policy_of(task), limit_s, outcome)
        is_user = reason is CancelReason.USER
        ending = update_for(job, outcome, failure_delay_s=0.0, user_cancelled=is_user)
        if ending.status is JobStatus.DONE:
            self._send(job_succeeded, context=context)
        elif is_user:
            self._send(job_cancelled, context=context)
        elif ending.status in (JobStatus.DEAD, JobStatus.FAILED):
            is_dead = ending.status is JobStatus.DEAD
            self._send(
                job_dead if is_dead else job_failed,
                context=context,
                error=raised[0] if raised else None,
                message=ending.error,
            )
        else:
            self._send(job_put_back, context=context)

    def worker_started(self, worker_id: str, queues: Sequence[str]) -> None:
        """Send ``worker_started``."""
        self._send(worker_started, worker_id=worker_id, queues=tuple(queues))

    def worker_stopped(self, worker_id: str, queues: Sequence[str]) -> None:
        """Send ``worker_stopped``."""
        self._send(worker_stopped, worker_id=worker_id, queues=tuple(queues))

    def _send(self, signal: NamedSignal, **values: object) -> None:
        # One by one, so that a receiver that raises keeps nothing from the others.
        for receiver in list(signal.receivers_for(self._app)):
            try:
                receiver(self._app, **values)
            except Exception:
                logger.exception("a receiver of the signal %s failed", signal.name)
