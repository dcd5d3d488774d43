"""Outcomes of runs, made into updates of their jobs."""

from __future__ import annotations

import math
from collections.abc import Callable

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.masking import Mask
from flask_forge_jobs.model.outcomes import (
    Failed,
    FollowUps,
    Outcome,
    Postponed,
    Snooze,
)
from flask_forge_jobs.model.queues import QueueSettings, failure_delay_s
from flask_forge_jobs.model.run_end import (
    CancelReason,
    JobUpdate,
    end_of_failure,
    end_of_run,
)
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.tasks.decorator import Task, policy_of
from flask_forge_jobs.tasks.failures import describe_failure, fit, mask_known, trace_of
from flask_forge_jobs.tasks.registry import Runnable
from flask_forge_jobs.tasks.retries import DEFAULT_RETRY

logger = get_logger(__name__)
UNUSABLE_MESSAGE = "the task's outcome could not be used"
UNSTORABLE_MESSAGE = "the outcome could not be stored; see the worker's log"


class OutcomeMapper:
    """Turns outcomes into updates, with the retry policies of queues and tasks."""

    def __init__(
        self,
        settings_of: Callable[[str], QueueSettings],
        jitter: Callable[[], float] | None,
        mask: Mask = mask_known,
        task_of: Callable[[str], Runnable | None] = lambda _: None,
    ) -> None:
        self._settings_of = settings_of
        self._jitter = jitter
        self._mask = mask
        self._task_of = task_of

    def update(self, execution: Execution, outcome: Outcome) -> JobUpdate | None:
        """Return the update for an outcome, or None if the job is no longer ours.

        An unusable outcome, such as one of a broken subclass, becomes a failure, so
        that the rest of the batch can be stored.
        """
        job, reason = execution.job, execution.token.reason
        try:
            update = end_of_run(
                job,
                outcome,
                reason,
                timeout_s=execution.timeout_s,
                is_final=self._is_final,
                delay_s=self._delay_s,
            )
            if update is not None:
                return self._complete(update, execution, outcome)
        except Exception as error:  # noqa: BLE001  # must not block other outcomes
            trace = trace_of(error, self._mask)
            logger.error("cannot use the outcome of job %s: %s", job.id, trace)  # noqa: TRY400
            return self._failed(execution, reason, error)
        logger.warning("job %s was lost to another worker; result dropped", job.id)
        return None

    def _failed(
        self, execution: Execution, reason: CancelReason | None, error: Exception
    ) -> JobUpdate | None:
        text = f"{UNUSABLE_MESSAGE}: {describe_failure(error)}"
        failure = Failed(fit(text, self._mask))
        update = end_of_run(
            execution.job,
            failure,
            reason,
            timeout_s=execution.timeout_s,
            is_final=lambda *_: False,
            delay_s=lambda job, _: DEFAULT_RETRY.delay_s(job.attempts, self._jitter),
        )
        return update and self._complete(update, execution, failure)

    def _complete(
        self, update: JobUpdate, execution: Execution, outcome: Outcome
    ) -> JobUpdate:
        """Add follow-ups and times of the run."""
        job = execution.job
        update.ended_at = execution.ended_at
        update.concurrency_key = execution.concurrency_key
        if update.status is not JobStatus.DONE:
            update.follow_ups = self._follow_ups_of(job.kind)
            _check(update)
        # Of a job that is done at its first claim, nothing more is stored.
        is_ordinary = update.status is JobStatus.DONE and job.claim == 1
        if not is_ordinary and not isinstance(outcome, Postponed):
            update.span = execution.span
        # A snooze is not a run, unless its start has been counted.
        was_snoozed = isinstance(outcome, Snooze) and (
            update.is_throttle or update.is_cancelled
        )
        is_run = execution.is_start_counted or not was_snoozed
        if execution.started_at and is_run:
            held_us = int((execution.ended_at - execution.claimed_at) * SECOND_US)
            update.run_us = int((execution.ended_at - execution.started_at) * SECOND_US)
            if not execution.is_start_counted:
                update.wait_us = execution.wait_us
            update.total_us = job.claimed_at_us - job.enqueued_at_us + held_us
        return update

    def _is_final(self, job: ClaimedJob, error: BaseException) -> bool:
        return policy_of(self._task_of(job.kind)).is_final(error)

    def _follow_ups_of(self, kind: str) -> FollowUps | None:
        task = self._task_of(kind)
        if not isinstance(task, Task):
            return None
        try:
            return task.follow_ups
        except Exception as error:  # noqa: BLE001  # of the application's router
            trace = trace_of(error, self._mask)
            logger.error("no follow-ups for kind %s: %s", one_line(kind), trace)  # noqa: TRY400
            return None

    def _delay_s(self, job: ClaimedJob, failure: Failed) -> float:
        """Return the seconds until the next attempt."""
        delay_s = failure.retry_after_s
        if delay_s is None:
            policy = policy_of(self._task_of(job.kind))
            delay_s = policy.delay_s(job.attempts, self._jitter)
        queue = self._settings_of(job.queue_name)
        return failure_delay_s(job.attempts, queue, self._jitter, otherwise_s=delay_s)

    def log_unstorable(self, update: JobUpdate, error: Exception) -> None:
        """Log why an outcome cannot be stored; a database may quote its texts."""
        trace = trace_of(error, self._mask)
        logger.error("cannot store the outcome of job %s: %s", update.job.id, trace)

    def replacements(self, update: JobUpdate) -> list[JobUpdate]:
        """Return the updates that replace an outcome which the database refuses.

        Empty if the replacement was refused, too: the heartbeat then finds that the run
        is unknown here and gives the job back.
        """
        if update.error == UNSTORABLE_MESSAGE:
            return []
        job = update.job
        replacement = end_of_failure(job, Failed(UNSTORABLE_MESSAGE), self._delay_s)
        replacement.ended_at = update.ended_at
        replacement.concurrency_key = update.concurrency_key
        replacement.follow_ups = self._follow_ups_of(job.kind)
        replacement.span = update.span
        replacement.run_us = update.run_us
        replacement.wait_us = update.wait_us
        replacement.total_us = update.total_us
        return [replacement]


def _check(update: JobUpdate) -> None:
    """Raise for an outcome of a broken subclass, which a database would take."""
    error: object = update.error
    if not isinstance(error, str | None):
        message = "the error is not a text"
        raise TypeError(message)
    if update.delay_s is not None and not math.isfinite(update.delay_s):
        message = "the delay is not a finite number"
        raise ValueError(message)
