"""JobAdmin: an operator's changes of jobs. Delete, cancel, retry, run now, reschedule.

A running job is never removed or handed out again; it is asked to stop. Bulk actions
run in small transactions, so that writers get through between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Unpack

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import DedupeKeyTakenError, JobNotFoundError
from flask_forge_jobs.model.bulk import (
    APPLIES_TO,
    BulkChange,
    BulkStep,
    CancelOutcome,
    ChangeOptions,
    DeleteOutcome,
    JobAction,
    SkipReason,
    WalkPosition,
)
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import Job, JobFilter, JobStatus
from flask_forge_jobs.model.masking import KNOWN, Masking
from flask_forge_jobs.model.run_end import CANCELLED_MESSAGE, cancelled_message
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs import bulk
from flask_forge_jobs.storage.jobs.bulk_walk import pick
from flask_forge_jobs.storage.jobs.follow_ups import FollowUpStore
from flask_forge_jobs.storage.jobs.plain_changes import PlainChanges
from flask_forge_jobs.storage.pace import BATCH, Pace
from flask_forge_jobs.storage.ties.settlement import Settled, Settlement

# An arbitrary lock key: two processes must not fold the same counts.
FOLD_LOCK = 7_022_013_337_002
FOLD_ROWS = 500


class JobAdmin:
    """Changes jobs on behalf of an operator."""

    def __init__(
        self,
        database: StoreExecutor,
        clock: Clock,
        pace: Pace,
        follow_ups: FollowUpStore,
        *,
        settlement: Settlement,
        masking: Masking = KNOWN,
    ) -> None:
        self._masking = masking
        self._settlement = settlement
        self._database = database
        self._clock = clock
        self._pace = pace
        self._follow_ups = follow_ups
        self._plain = PlainChanges(database, clock, settlement)

    # -- one job -------------------------------------------------------------------

    def delete(self, job_id: str) -> DeleteOutcome:
        """Delete a job, or ask a running one to stop; ``NOT_FOUND`` for unknown ids."""
        change = self.change(JobAction.DELETE, [job_id])
        if change.stop_requested:
            return DeleteOutcome.CANCEL_REQUESTED
        return DeleteOutcome.DELETED if change.changed else DeleteOutcome.NOT_FOUND

    def cancel(self, job_id: str, reason: str | None = None) -> CancelOutcome:
        """End a waiting job, or ask a running one to stop.

        ``reason`` becomes part of its last error, unless it is done after all; its
        secrets are masked.

        Raises:
            JobNotFoundError: No job has this id.
            JobStateError: The job has ended.
        """
        if reason:
            reason = str(self._masking.text(reason))
        done = self._plain.make(JobAction.CANCEL, [job_id], reason=reason)
        if done is not None:
            asked = CancelOutcome.CANCEL_REQUESTED
            return asked if done.stop_requested else CancelOutcome.CANCELLED

        def work(transaction: Transaction, *, settled: Settled) -> CancelOutcome:
            status = bulk.require(transaction, job_id, JobAction.CANCEL)
            if status is JobStatus.IN_PROGRESS:
                bulk.request_stop(transaction, [job_id], reason)
                return CancelOutcome.CANCEL_REQUESTED
            message = cancelled_message(reason)
            changed = self._cancel_waiting(transaction, [job_id], message, settled)
            self._settlement.settle(transaction, changed.turns, settled)
            return CancelOutcome.CANCELLED

        return self._settlement.run(work)[0]

    def _cancel_waiting(
        self,
        transaction: Transaction,
        ids: Sequence[str],
        message: str,
        settled: Settled,
    ) -> bulk.Changed:
        rows = bulk.cancel_waiting(
            transaction, ids, message=message, at_us=self._clock.now_us()
        )
        followed = [job_id for job_id, is_followed, *_ in rows if is_followed]
        settled.made += self._follow_ups.store_declared(
            transaction, followed, Ending.CANCELLED
        )
        settled.cancelled += [(row[2], row[3]) for row in rows]
        return bulk.Changed([row[0] for row in rows], bulk.cancelled_turns(rows))

    def requeue(
        self, job_id: str, *, restart: bool = False, dependents: bool = False
    ) -> bool:
        """Give a failed or dead job all its attempts again, due now.

        It goes on behind the last step that is kept, unless ``restart`` drops them.
        With ``dependents``, the jobs that died with it wait for it again, and theirs
        for them.

        Returns:
            False when the job is missing, in another state, or its dedupe key is held
            by another unfinished job.
        """
        change = self.change(
            JobAction.RETRY, [job_id], restart=restart, dependents=dependents
        )
        return change.changed == 1

    def run_now(self, job_id: str) -> bool:
        """Make a pending or failed job due now; an overdue one keeps its place.

        Returns:
            False when the job waits neither for its start nor for a retry, or waits for
            other jobs.

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
    ) -> Job | None:
        """Change start, priority or queue of a waiting job; None changes nothing.

        If it waits for other jobs, it goes on waiting, and starts no sooner. Returns
        the job where the change has read it.

        Args:
            job_id: The job.
            run_at: New earliest start; the past means now.
            priority: Lower runs first, a signed 32-bit number.
            queue_name: A registered queue.

        Raises:
            JobNotFoundError: No job has this id.
            QueueNotFoundError: No queue has this name.
            JobStateError: The job runs or has ended.
        """
        done = self._plain.make(
            JobAction.RESCHEDULE,
            [job_id],
            run_at=run_at,
            priority=priority,
            queue_name=queue_name,
            may_wait=True,
        )
        if done is not None:
            return done.job
        self._database.write(
            partial(
                bulk.reschedule_one,
                job_id=job_id,
                run_at_us=None if run_at is None else to_micros(run_at),
                priority=priority,
                queue_name=queue_name,
            )
        )
        return None

    # -- many jobs -----------------------------------------------------------------

    def change(
        self,
        action: JobAction,
        job_ids: Sequence[str],
        *,
        status: JobStatus | None = None,
        run_at: datetime | None = None,
        restart: bool = False,
        dependents: bool = False,
        batch_id: str | None = None,
    ) -> BulkChange:
        """Act on the named jobs; in one transaction unless their follow-ups are large.

        Args:
            action: The action.
            job_ids: At most one batch, each id once.
            status: Only jobs in this state; None means any.
            run_at: New start, for a reschedule; the past means now.
            restart: A retry begins with the first step again.
            dependents: Of a retry, also the jobs that died with these. With a status,
                those that died with others wait for the retry of these.
            batch_id: The batch of all, whose latest request counts.
        """
        if not job_ids:
            return BulkChange()
        if not (batch_id or restart or dependents):
            done = self._plain.make(action, job_ids, status, run_at)
            if done is not None:
                return done
        how: dict[str, Any] = {"restart": restart, "dependents": dependents}
        again = partial(self.change, action, status=status, batch_id=batch_id, **how)
        if action is JobAction.CANCEL:
            pieces = self._follow_ups.in_pieces(job_ids)
            if len(pieces) > 1:
                return sum(map(again, pieces), BulkChange())

        def work(tx: Transaction, *, settled: Settled) -> BulkChange:
            resting = self._change_resting(action, status, run_at, settled, **how)
            if batch_id and not bulk.is_still_asked(tx, action, batch_id):
                return BulkChange()
            stopped, changed = bulk.stop_or_change(tx, action, job_ids, status, resting)
            self._settlement.settle(tx, changed.turns, settled)
            return bulk.result(tx, action, job_ids, stopped, changed)

        try:
            return self._settlement.run(work, lambda done: done.changed, self._pace)[0]
        except DedupeKeyTakenError:
            return bulk.change_halves(again, job_ids)

    def _change_resting(
        self,
        action: JobAction,
        status: JobStatus | None,
        run_at: datetime | None,
        settled: Settled,
        *,
        restart: bool,
        dependents: bool,
    ) -> Callable[[Transaction, Sequence[str]], bulk.Changed]:
        """Return the function that acts on jobs that are not running."""
        run_at_us = None if run_at is None else to_micros(run_at)
        match action:
            case JobAction.DELETE:
                return partial(bulk.delete, status=status)
            case JobAction.CANCEL:
                return partial(
                    self._cancel_waiting, message=CANCELLED_MESSAGE, settled=settled
                )
            case JobAction.RETRY:
                return partial(
                    bulk.requeue,
                    restart=restart,
                    dependents=dependents,
                    named=status is None,
                )
            case JobAction.RUN_NOW:
                return bulk.run_now
            case JobAction.RESCHEDULE:
                return partial(bulk.reschedule, run_at_us=run_at_us)

    def step(
        self,
        action: JobAction,
        job_filter: JobFilter,
        *,
        after: WalkPosition | None = None,
        limit: int = BATCH,
        on_picked: Callable[[WalkPosition | None], object] | None = None,
        **options: Unpack[ChangeOptions],
    ) -> BulkStep:
        """Act on the next jobs that match a filter and are in a state the action takes.

        Repeat with ``after`` set to the returned position until that is None; each job
        is visited once.

        Args:
            action: The action.
            job_filter: Which jobs.
            after: Start behind this job; None starts at the first.
            limit: Most jobs to look at.
            on_picked: Called with the position that the step will return, before it
                changes anything.
            options: ``run_at``, ``restart`` and ``dependents`` as for :meth:`change`; a
                job that died with another one is left to the retry of that.
        """
        picked = self._database.read(
            lambda transaction: pick(
                transaction,
                job_filter,
                statuses=APPLIES_TO[action],
                after=after,
                limit=limit,
            )
        )
        if on_picked is not None:
            on_picked(picked.position)
        change = self.change(action, picked.ids, status=picked.status, **options)
        return BulkStep(len(picked.ids), change, picked.position)

    # -- upkeep --------------------------------------------------------------------

    def cleanup_superseded_retries(self) -> int:
        """End failed jobs whose dedupe key another unfinished job holds.

        The unique index on keys prevents such jobs; this repairs rows that came in
        while it was dropped, so that it can be created again. Of the jobs with one key,
        a pending or running one stays, else the newest failed one. The others become
        ``dead`` with ``superseded by active sibling`` as last error and in the history.

        Returns:
            How many jobs ended.
        """

        def work(transaction: Transaction, *, settled: Settled) -> int:
            changed = bulk.end_superseded(
                transaction, at_us=self._clock.now_us(), limit=BATCH
            )
            self._settlement.settle(transaction, changed.turns, settled)
            return len(changed.ids)

        ended = 0
        while True:
            superseded, _ = self._settlement.run(work, pace=self._pace)
            ended += superseded
            if superseded < BATCH:
                return ended

    def fold_counts(self, worthwhile: int = FOLD_ROWS) -> None:
        """Merge the appended count changes if there are more than this many rows.

        Cheap, and safe at any time.
        """
        self._database.execute("fold_counts", lock_key=FOLD_LOCK, worthwhile=worthwhile)
