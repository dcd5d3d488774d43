"""How the outcomes of runs are written: fenced, all at once, cool-downs included.

One statement writes every outcome whose job is still the caller's. What it held back is
looked at once more: a job that a user wanted stopped, an outcome that a commit before
this one has stored although its answer was lost, or a job that belongs to somebody else
by now, which is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask_forge_jobs.model.error_history import append_error
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import CANCELLED_MESSAGE, JobUpdate
from flask_forge_jobs.model.queues import COOLDOWN_DECAY_GRACE_S, QueueSettings
from flask_forge_jobs.model.retry_delay import throttle_delay_s
from flask_forge_jobs.storage.database import Parameter, Transaction, encode_rows
from flask_forge_jobs.storage.rows import queue_from_row
from flask_forge_jobs.storage.seats import let_in

_FINAL = (JobStatus.DONE, JobStatus.DEAD)


class Finishing:
    """Writes outcomes within one transaction.

    Args:
        transaction: An open transaction.
        owner: Who claimed the jobs.
        at_us: Stamp for the error history, microseconds since the epoch.
    """

    def __init__(self, transaction: Transaction, owner: str, at_us: int) -> None:
        self._transaction = transaction
        self._owner = owner
        self._at_us = at_us

    def write(self, updates: Sequence[JobUpdate]) -> list[str]:
        """Write how runs ended; return the ids that were refused."""
        transaction = self._transaction
        # Everybody locks in the order of ids, so that nobody locks crosswise.
        updates = sorted(updates, key=lambda each: each.job.id)
        throttled = self._plan_cooldowns(updates)
        rows = encode_rows(_finish_row(each, self._at_us) for each in updates)
        finished = _ids(transaction.all("finish", owner=self._owner, rows=rows))
        missing = [each for each in updates if each.job.id not in finished]
        if missing:
            finished |= self._finish_rest(missing)
        for update, delay_s in throttled:
            if update.job.id in finished:
                transaction.run(
                    "open_cooldown",
                    name=update.job.queue_name,
                    delay_us=_to_us(delay_s),
                )
        freed = [e.seat for e in updates if e.seat and e.job.id in finished]
        if freed:
            let_in(transaction, freed)
        for queue_name in _queues_with_returns(updates):
            transaction.wake(queue_name)
        return [each.job.id for each in missing if each.job.id not in finished]

    def _plan_cooldowns(
        self, updates: Sequence[JobUpdate]
    ) -> list[tuple[JobUpdate, float]]:
        """Lengthen the delay of throttled jobs to their queue's curve.

        A success may end what is left of a curve. The queues come in order as well.
        """
        names = {each.job.queue_name for each in updates if _may_cool(each)}
        planned = []
        for name in sorted(names):
            here = [each for each in updates if each.job.queue_name == name]
            throttled = [each for each in here if each.cool_down_s is not None]
            if throttled:
                rows = self._transaction.all("lock_queue", name=name)
                queue = queue_from_row(rows[0]) if rows else QueueSettings(name)
                for update in throttled:
                    delay_s = throttle_delay_s(queue, update.cool_down_s or 0.0)
                    update.delay_s = delay_s
                    planned.append((update, delay_s))
            if any(each.status is JobStatus.DONE for each in here):
                self._transaction.later(
                    "decay_cooldown",
                    name=name,
                    grace_us=COOLDOWN_DECAY_GRACE_S * SECOND_US,
                )
        return planned

    def _finish_rest(self, missing: Sequence[JobUpdate]) -> set[str]:
        """Deal with what the fence held back: cancelled, stored before, or lost."""
        cancelled: list[dict[str, Parameter]] = [
            {
                "job_id": each.job.id,
                "run": each.job.claim,
                "error": CANCELLED_MESSAGE,
                "history": append_error(each.job, CANCELLED_MESSAGE, self._at_us),
            }
            for each in missing
            if each.status not in _FINAL
        ]
        found: set[str] = set()
        if cancelled:
            whose: dict[str, Parameter] = {
                "owner": self._owner,
                "rows": encode_rows(cancelled),
            }
            self._transaction.later("lock_cancelled", **whose)
            found |= _ids(self._transaction.all("finish_cancelled", **whose))
        is_again = self._transaction.attempt > 0
        tried = [each for each in missing if is_again or each.was_tried]
        return found | self._stored_before(tried) if tried else found

    def _stored_before(self, tried: Sequence[JobUpdate]) -> set[str]:
        """Return what an earlier commit has stored although its answer was lost."""
        rows: list[dict[str, Parameter]] = []
        for each in tried:
            rows.append(_stored_row(each, each.status, each.error))
            if each.status not in _FINAL:  # or as a cancelled one
                rows.append(_stored_row(each, JobStatus.DEAD, CANCELLED_MESSAGE))
        return _ids(self._transaction.all("stored_before", rows=encode_rows(rows)))


def _to_us(seconds: float) -> int:
    return int(seconds * SECOND_US)


def _stored_row(
    update: JobUpdate, status: JobStatus, error: str | None
) -> dict[str, Parameter]:
    return {
        "job_id": update.job.id,
        "run": update.job.claim,
        "new_status": status.value,
        "error": error,
    }


def _ids(rows: Iterable[Sequence[str]]) -> set[str]:
    return {row[0] for row in rows}


def _may_cool(update: JobUpdate) -> bool:
    return update.cool_down_s is not None or update.status is JobStatus.DONE


def _queues_with_returns(updates: Iterable[JobUpdate]) -> list[str]:
    """Queues that got a job back which somebody else could run at once."""
    return sorted(
        {
            each.job.queue_name
            for each in updates
            if each.status is JobStatus.PENDING
            and not each.delay_s
            and each.job.queue_name
        }
    )


def _finish_row(update: JobUpdate, at_us: int) -> dict[str, Parameter]:
    job, error = update.job, update.error
    row: dict[str, Parameter] = {
        "job_id": job.id,
        "run": job.claim,
        "new_status": update.status.value,
        "uncount": int(update.uncount),
        "throttled": int(update.is_throttle),
    }
    if update.delay_s is not None:
        row["delay_us"] = _to_us(update.delay_s)
    if update.result is not None:
        row["new_result"] = update.result
    if error is not None:
        row["error"] = error
        row["history"] = append_error(job, error, at_us)
    return row
