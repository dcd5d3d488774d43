"""JobAdmin: what an operator does to jobs. Delete, cancel, retry, run now, reschedule.

A running job is never removed and never handed out again; it is asked to stop. What is
done to many jobs is done in small steps, each a transaction of its own, so that writers
get through between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import (
    DedupeKeyTakenError,
    JobNotFoundError,
    JobStateError,
    QueueNotFoundError,
)
from flask_forge_jobs.model.bulk import (
    APPLIES_TO,
    BulkChange,
    BulkStep,
    JobAction,
    Position,
    Skip,
    SkipReason,
)
from flask_forge_jobs.model.follow_ups import Ending
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import (
    CancelOutcome,
    DeleteOutcome,
    JobFilter,
    JobStatus,
)
from flask_forge_jobs.model.outcomes import CANCELLED_MESSAGE, cancelled_message
from flask_forge_jobs.storage.database import Executor, Transaction
from flask_forge_jobs.storage.follow_ups import FollowUpStore
from flask_forge_jobs.storage.jobs import bulk
from flask_forge_jobs.storage.pace import BATCH, Pace
from flask_forge_jobs.storage.units import write_batch

# Any constant will do; keeps two processes from folding the same counts.
FOLD_LOCK = 7_022_013_337_002
FOLD_ROWS = 500
# What these do to a running job is to ask it to stop.
_STOPPING = (JobAction.DELETE, JobAction.CANCEL)


class JobAdmin:
    """Changes jobs on behalf of an operator.

    Args:
        database: The seam to the database.
        clock: Stamps the error history.
        pace: Runs what is one of many transactions in a row.
        follow_ups: Stores what follows a job that is cancelled.
    """

    def __init__(
        self, database: Executor, clock: Clock, pace: Pace, follow_ups: FollowUpStore
    ) -> None:
        self._database = database
        self._clock = clock
        self._pace = pace
        self._follow_ups = follow_ups

    # -- one job -------------------------------------------------------------------

    def delete(self, job_id: str) -> DeleteOutcome:
        """Delete a job; a running one is asked to stop instead.

        Returns:
            What was done, ``NOT_FOUND`` when no job has this id.
        """
        change = self.change(JobAction.DELETE, [job_id])
        if change.stop_requested:
            return DeleteOutcome.CANCEL_REQUESTED
        return DeleteOutcome.DELETED if change.changed else DeleteOutcome.NOT_FOUND

    def cancel(self, job_id: str, reason: str | None = None) -> CancelOutcome:
        """End a waiting job, or ask a running one to stop.

        Args:
            job_id: The job.
            reason: Becomes a part of a waiting job's last error; None says nothing.

        Raises:
            JobNotFoundError: No job has this id.
            JobStateError: The job has ended.
        """
        made: list[tuple[str, str]] = []

        def work(transaction: Transaction) -> CancelOutcome:
            made.clear()
            status = _require(transaction, job_id, JobAction.CANCEL)
            if status is JobStatus.IN_PROGRESS:
                bulk.request_stop(transaction, [job_id])
                return CancelOutcome.CANCEL_REQUESTED
            self._cancel_waiting(transaction, [job_id], cancelled_message(reason), made)
            return CancelOutcome.CANCELLED

        outcome = self._database.write(work)
        self._follow_ups.count(made)
        return outcome

    def _cancel_waiting(
        self,
        transaction: Transaction,
        ids: Sequence[str],
        message: str,
        made: list[tuple[str, str]],
    ) -> list[str]:
        rows = bulk.cancel_waiting(
            transaction, ids, message=message, at_us=self._clock.now_us()
        )
        followed = [job_id for job_id, is_followed in rows if is_followed]
        made += self._follow_ups.store_declared(transaction, followed, Ending.CANCELLED)
        return [row[0] for row in rows]

    def requeue(self, job_id: str) -> bool:
        """Give a failed or dead job a full new budget, due now.

        Returns:
            False when the job is missing, in another state, or an unfinished sibling
            holds its dedupe key.
        """
        return self.change(JobAction.RETRY, [job_id]).changed == 1

    def run_now(self, job_id: str) -> bool:
        """Lift the wait of a pending or failed job; an overdue one keeps its place.

        Returns:
            False when the job neither waits for its start nor for a retry.

        Raises:
            JobNotFoundError: No job has this id.
        """
        change = self.change(JobAction.RUN_NOW, [job_id])
        if any(skip.reason is SkipReason.NOT_FOUND for skip in change.skipped):
            raise JobNotFoundError(job_id)
        return change.changed == 1

    def reschedule(
        self,
        job_id: str,
        *,
        run_at: datetime | None = None,
        priority: int | None = None,
        queue_name: str | None = None,
    ) -> None:
        """Change when, how urgently and where a waiting job runs.

        Args:
            job_id: The job.
            run_at: Not before this instant; the past means now, None changes nothing.
            priority: Lower runs first, a signed 32-bit number; None changes nothing.
            queue_name: A queue that is registered; None changes nothing.

        Raises:
            JobNotFoundError: No job has this id.
            QueueNotFoundError: No queue has this name.
            JobStateError: The job runs or has ended.
        """

        def work(transaction: Transaction) -> None:
            _require(transaction, job_id, JobAction.RESCHEDULE)
            if queue_name is not None and not transaction.all(
                "get_queue", name=queue_name
            ):
                raise QueueNotFoundError(queue_name)
            bulk.reschedule(
                transaction,
                [job_id],
                run_at_us=None if run_at is None else to_micros(run_at),
                priority=priority,
                queue_name=queue_name,
            )

        self._database.write(work)

    # -- many jobs -----------------------------------------------------------------

    def change(
        self,
        action: JobAction,
        job_ids: Sequence[str],
        *,
        status: JobStatus | None = None,
        run_at: datetime | None = None,
    ) -> BulkChange:
        """Act on the named jobs in one transaction.

        Args:
            action: What to do.
            job_ids: Not more than a batch, each once.
            status: Only jobs that are in this state; None means any.
            run_at: New start of a reschedule; the past means now.
        """
        if not job_ids:
            return BulkChange()
        made: list[tuple[str, str]] = []
        change_resting = self._change_resting(action, status, run_at, made)

        def work(transaction: Transaction) -> BulkChange:
            made.clear()
            stopped: list[str] = []
            changed: list[str] = []
            if action in _STOPPING and status in (None, JobStatus.IN_PROGRESS):
                stopped = bulk.request_stop(transaction, job_ids)
            if status is not JobStatus.IN_PROGRESS:
                changed = change_resting(transaction, job_ids)
            done = {*stopped, *changed}
            rest = [job_id for job_id in job_ids if job_id not in done]
            return BulkChange(
                changed=len(done),
                stop_requested=len(stopped),
                skipped=bulk.reasons(transaction, action, rest),
            )

        try:
            change = write_batch(self._pace.write, work, lambda done: done.changed)
        except DedupeKeyTakenError:
            return self._change_halves(action, job_ids, status)
        self._follow_ups.count(made)
        return change

    def _change_halves(
        self, action: JobAction, job_ids: Sequence[str], status: JobStatus | None
    ) -> BulkChange:
        """Find out whose key is taken; the rest must not suffer for it."""
        if len(job_ids) == 1:
            skip = Skip(job_ids[0], SkipReason.DEDUPE_CONFLICT)
            return BulkChange(skipped=(skip,))
        middle = len(job_ids) // 2
        return self.change(action, job_ids[:middle], status=status) + self.change(
            action, job_ids[middle:], status=status
        )

    def _change_resting(
        self,
        action: JobAction,
        status: JobStatus | None,
        run_at: datetime | None,
        made: list[tuple[str, str]],
    ) -> Callable[[Transaction, Sequence[str]], list[str]]:
        """Return what acts on those that do not run."""
        run_at_us = None if run_at is None else to_micros(run_at)
        match action:
            case JobAction.DELETE:
                return partial(bulk.delete, status=status)
            case JobAction.CANCEL:
                return partial(
                    self._cancel_waiting, message=CANCELLED_MESSAGE, made=made
                )
            case JobAction.RETRY:
                return bulk.requeue
            case JobAction.RUN_NOW:
                return bulk.run_now
            case JobAction.RESCHEDULE:
                return partial(bulk.reschedule, run_at_us=run_at_us)

    def step(
        self,
        action: JobAction,
        wanted: JobFilter,
        *,
        after: Position | None = None,
        limit: int = BATCH,
        run_at: datetime | None = None,
    ) -> BulkStep:
        """Act on the next jobs that match a filter; jobs in a wrong state do not.

        Repeat with ``after`` set to the answer's position until that is None: each job
        is visited once.

        Args:
            action: What to do.
            wanted: Which jobs.
            after: Start behind this job; None starts at the first.
            limit: Look at so many jobs at most.
            run_at: New start of a reschedule; the past means now.
        """
        picked = self._database.read(
            lambda transaction: bulk.pick(
                transaction,
                wanted,
                statuses=APPLIES_TO[action],
                after=after,
                limit=limit,
            )
        )
        change = self.change(action, picked.ids, status=picked.status, run_at=run_at)
        return BulkStep(len(picked.ids), change, picked.position)

    # -- upkeep --------------------------------------------------------------------

    def cleanup_superseded_retries(self) -> int:
        """End failed jobs whose dedupe key another unfinished job holds.

        The unique index of the keys lets no such jobs come into being. This repairs
        rows that were brought in while it was dropped, so that it can be made again: of
        several with one key a pending or running one stays, else the newest that
        failed. The others end ``dead`` with ``superseded by active sibling`` as their
        last error and in their history.

        Returns:
            How many jobs ended.
        """
        ended = 0
        while True:
            found = self._pace.write(
                lambda transaction: bulk.end_superseded(
                    transaction, at_us=self._clock.now_us(), limit=BATCH
                )
            )
            ended += len(found)
            if len(found) < BATCH:
                return ended

    def fold_counts(self, worthwhile: int = FOLD_ROWS) -> None:
        """Merge the appended changes of the counts; cheap, and safe at any time.

        Args:
            worthwhile: Do nothing at or below this number of rows.
        """
        self._database.execute("fold_counts", lock_key=FOLD_LOCK, worthwhile=worthwhile)


def _require(transaction: Transaction, job_id: str, action: JobAction) -> JobStatus:
    """Lock a job and return its state, which must be one the action applies to."""
    rows = transaction.all("lock_job", id=job_id)
    if not rows:
        raise JobNotFoundError(job_id)
    status = JobStatus(rows[0][0])
    if status not in APPLIES_TO[action]:
        raise JobStateError(job_id, status)
    return status
