"""JobAdmin: what an operator does to jobs. Delete, cancel, requeue, run now.

A running job is never removed and never handed out again; it is asked to stop. Bulk
verbs walk by id, so they end whatever other processes do meanwhile (D8 to D14).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from flask_forge_jobs.errors import (
    ConflictError,
    InvalidInputError,
    JobNotFoundError,
)
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import (
    DELETABLE,
    REQUEUEABLE,
    DeleteOutcome,
    DeleteReport,
    JobStatus,
    Walk,
)
from flask_forge_jobs.storage.database import (
    Database,
    Parameter,
    Transaction,
    encode_names,
)

BATCH = 500
# Any constant will do; keeps two processes from folding the same counts.
FOLD_LOCK = 7_022_013_337_002
FOLD_ROWS = 500


class JobAdmin:
    """Changes jobs on behalf of an operator or of the retention sweep.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- delete and cancel ---------------------------------------------------------

    def delete(self, job_id: str) -> DeleteOutcome:
        """Delete a job; a running one is asked to stop instead.

        Returns:
            What was done, ``NOT_FOUND`` when no job has this id.
        """
        report = self.delete_many([job_id])
        if report.deleted:
            return DeleteOutcome.DELETED
        if report.cancel_requested:
            return DeleteOutcome.CANCEL_REQUESTED
        return DeleteOutcome.NOT_FOUND

    def delete_many(self, job_ids: Sequence[str]) -> DeleteReport:
        """Delete jobs, 500 in one transaction; running ones are asked to stop.

        Args:
            job_ids: Ids; one that is named twice counts once.

        Returns:
            How many met which end.
        """
        unique = list(dict.fromkeys(job_ids))
        report = DeleteReport()
        for start in range(0, len(unique), BATCH):
            batch = unique[start : start + BATCH]
            deleted, asked = self._database.write(partial(_delete, ids=batch))
            report = DeleteReport(
                deleted=report.deleted + deleted,
                cancel_requested=report.cancel_requested + asked,
                not_found=report.not_found + len(batch) - deleted - asked,
            )
        return report

    def delete_batch(
        self,
        status: JobStatus,
        *,
        queue_name: str | None = None,
        after: str | None = None,
        limit: int = BATCH,
    ) -> Walk:
        """Delete the next jobs with a status, in id order.

        Args:
            status: Any but ``in_progress``.
            queue_name: Only of this queue; None means all.
            after: Start behind this id; None starts at the first.
            limit: At most this many.

        Raises:
            InvalidInputError: The status is ``in_progress``.
        """
        _check_status(status, DELETABLE)

        def work(transaction: Transaction) -> Walk:
            ids = _walk(transaction, status, queue_name, after, limit)
            if not ids:
                return _walked(ids, 0)
            return _walked(
                ids,
                _delete_picked(
                    transaction, "delete_with_status", ids, status=status.value
                ),
            )

        return self._database.write(work)

    def cancel_batch(
        self,
        *,
        queue_name: str | None = None,
        after: str | None = None,
        limit: int = BATCH,
    ) -> Walk:
        """Ask the next running jobs to stop, in id order; see :meth:`delete_batch`."""

        def work(transaction: Transaction) -> Walk:
            ids = _walk(transaction, JobStatus.IN_PROGRESS, queue_name, after, limit)
            rows = encode_names("job_id", ids)
            changed = len(transaction.all("request_cancel", rows=rows)) if ids else 0
            return _walked(ids, changed)

        return self._database.write(work)

    def delete_finished_before(
        self,
        queue_name: str,
        status: JobStatus,
        cutoff: datetime,
        limit: int = BATCH,
    ) -> int:
        """Delete one batch of jobs that ended before an instant.

        Args:
            queue_name: The queue.
            status: ``done`` or ``dead``.
            cutoff: Jobs that ended before it go; must carry a zone.
            limit: At most this many.

        Returns:
            How many were deleted; fewer than ``limit`` when none is left.
        """
        ended: dict[str, Parameter] = {
            "status": status.value,
            "cutoff": to_micros(cutoff),
        }

        def work(transaction: Transaction) -> int:
            found = transaction.all(
                "finished_before", queue_name=queue_name, limit=limit, **ended
            )
            if not found:
                return 0
            ids = [row[0] for row in found]
            return _delete_picked(transaction, "delete_finished", ids, **ended)

        return self._database.write(work)

    # -- requeue and run now -------------------------------------------------------

    def requeue(self, job_id: str) -> bool:
        """Give a failed or dead job a full new budget, due now.

        Returns:
            False when the job is missing, in another state, or an unfinished sibling
            holds its dedupe key.
        """
        return self.requeue_many([job_id]) == 1

    def requeue_many(self, job_ids: Sequence[str]) -> int:
        """Requeue jobs, 500 in one transaction; see :meth:`requeue`.

        Returns:
            How many were requeued; the rest were skipped.
        """
        unique = sorted(set(job_ids))
        return sum(
            self._requeue_ids(unique[start : start + BATCH])
            for start in range(0, len(unique), BATCH)
        )

    def requeue_batch(
        self,
        status: JobStatus,
        *,
        queue_name: str | None = None,
        after: str | None = None,
        limit: int = BATCH,
    ) -> Walk:
        """Requeue the next jobs with a status, in id order.

        Args:
            status: ``failed`` or ``dead``.
            queue_name: Only of this queue; None means all.
            after: Start behind this id; None starts at the first.
            limit: At most this many.

        Raises:
            InvalidInputError: The status is neither ``failed`` nor ``dead``.
        """
        _check_status(status, REQUEUEABLE)
        ids = self._database.read(
            lambda transaction: _walk(transaction, status, queue_name, after, limit)
        )
        return _walked(ids, self._requeue_ids(ids))

    def _requeue_ids(self, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        try:
            return self._database.write(lambda transaction: _requeue(transaction, ids))
        except ConflictError:
            # Somebody took one of the keys in between; find out which by going singly.
            if len(ids) == 1:
                return 0
            return sum(self._requeue_ids([job_id]) for job_id in ids)

    def run_now(self, job_id: str) -> bool:
        """Lift the wait of a pending or failed job; an overdue one keeps its place.

        Returns:
            False when the job neither waits for its start nor for a retry.

        Raises:
            JobNotFoundError: No job has this id.
        """

        def work(transaction: Transaction) -> bool:
            if not transaction.all("lock_job", id=job_id):
                raise JobNotFoundError(job_id)
            rows = transaction.all("run_now", id=job_id)
            for (queue_name,) in rows:
                transaction.wake(queue_name)
            return bool(rows)

        return self._database.write(work)

    # -- upkeep --------------------------------------------------------------------

    def fold_counts(self, worthwhile: int = FOLD_ROWS) -> None:
        """Merge the appended changes of the counts; cheap, and safe at any time.

        Args:
            worthwhile: Do nothing at or below this number of rows.
        """
        self._database.single("fold_counts", lock_key=FOLD_LOCK, worthwhile=worthwhile)


def _check_status(status: JobStatus, allowed: Sequence[JobStatus]) -> None:
    if status not in allowed:
        raise InvalidInputError(
            "status", f"{status.value!r} is not one of {', '.join(allowed)}"
        )


def _walk(
    transaction: Transaction,
    status: JobStatus,
    queue_name: str | None,
    after: str | None,
    limit: int,
) -> list[str]:
    name = "walk_unsuccessful" if status in REQUEUEABLE else "walk"
    rows = transaction.all(
        name,
        status=status.value,
        any_queue=queue_name is None,
        queue_name=queue_name,
        after=after or "",
        limit=limit,
    )
    return [row[0] for row in rows]


def _walked(ids: Sequence[str], changed: int) -> Walk:
    return Walk(len(ids), changed, ids[-1] if ids else None)


def _delete(transaction: Transaction, ids: Sequence[str]) -> tuple[int, int]:
    """Delete what is not running, ask the rest to stop; return how many of each."""
    rows = encode_names("job_id", ids)
    # Locked first and in id order: none can start in between, and no two bulk verbs
    # can lock crosswise.
    transaction.later("lock_jobs", rows=rows)
    asked = len(transaction.all("request_cancel", rows=rows))
    return len(transaction.all("delete_jobs", rows=rows)), asked


def _delete_picked(
    transaction: Transaction, name: str, ids: Sequence[str], **conditions: Parameter
) -> int:
    rows = encode_names("job_id", ids)
    transaction.later("lock_jobs", rows=rows)
    return len(transaction.all(name, rows=rows, **conditions))


def _requeue(transaction: Transaction, ids: Sequence[str]) -> int:
    rows = transaction.all("lock_requeueable", rows=encode_names("job_id", ids))
    free = encode_names("job_id", [row[0] for row in rows])
    keys: dict[str, str] = {}
    for job_id, key in sorted(transaction.all("dedupe_keys", rows=free)):
        keys.setdefault(key, job_id)
    keyed = {job_id for job_id, _ in transaction.all("dedupe_keys", rows=free)}
    first = set(keys.values())
    chosen = [row[0] for row in rows if row[0] not in keyed or row[0] in first]
    changed = transaction.all("requeue_jobs", rows=encode_names("job_id", chosen))
    for queue_name in sorted({row[1] for row in changed}):
        transaction.wake(queue_name)
    return len(changed)
