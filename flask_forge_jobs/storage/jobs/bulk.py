"""The effect of an operator's actions on the rows, within one transaction.

Every function takes ids and returns those it changed. Rows are locked in the order of
their ids, so that bulk actions cannot deadlock, and each write repeats the state it
expects: a job that was claimed, finished or requeued in between is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from flask_forge_jobs.errors import JobNotFoundError, JobStateError, QueueNotFoundError
from flask_forge_jobs.model.batches import quoted_queues
from flask_forge_jobs.model.bulk import (
    APPLIES_TO,
    BulkChange,
    JobAction,
    Skip,
    SkipReason,
)
from flask_forge_jobs.model.claims import append_entry
from flask_forge_jobs.model.dedupe_keys import MARK
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.run_end import SUPERSEDED_MESSAGE
from flask_forge_jobs.storage.database import (
    Row,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.rows import first_row
from flask_forge_jobs.storage.ties.links import reopen_dependents
from flask_forge_jobs.storage.ties.turns import Fate, Turn, deleted_turns, turns_of

_TIMED = (JobAction.RUN_NOW, JobAction.RESCHEDULE)
# These ask a running job to stop.
_STOPPING = (JobAction.DELETE, JobAction.CANCEL)


class Changed(NamedTuple):
    """The jobs that an action has changed, and what remains to be settled of them.

    ``left`` died with jobs that are still dead, and are left to the retry of those.
    """

    ids: list[str]
    turns: Sequence[Turn] = ()
    left: Sequence[str] = ()


def require(transaction: Transaction, job_id: str, action: JobAction) -> JobStatus:
    """Lock a job and return its state; the action must apply to it."""
    rows = transaction.all("lock_job", id=job_id)
    status = JobStatus(first_row(rows, JobNotFoundError, job_id)[0])
    if status not in APPLIES_TO[action]:
        raise JobStateError(job_id, status)
    return status


def is_cancelled(transaction: Transaction, batch_id: str) -> bool:
    """Return whether a batch is cancelled, which no other request changes meanwhile."""
    rows = transaction.all("lock_request", id=batch_id)
    return bool(rows and rows[0][0])


def allow(transaction: Transaction, batch_id: str) -> None:
    """Take back the cancellation of a batch, even one that is just being stored."""
    rows = encode_names("batch_id", [batch_id])
    transaction.defer("lock_batches_alone", rows=rows)
    transaction.defer("allow_batch", id=batch_id)


def is_still_asked(transaction: Transaction, action: JobAction, batch_id: str) -> bool:
    """Return whether jobs of a batch may be changed.

    A retry of the batch stops its cancellation, and a cancellation its retry.
    """
    if action is JobAction.DELETE:
        return True
    return is_cancelled(transaction, batch_id) is (action is JobAction.CANCEL)


def stop_or_change(
    transaction: Transaction,
    action: JobAction,
    ids: Sequence[str],
    status: JobStatus | None,
    change_resting: Callable[[Transaction, Sequence[str]], Changed],
) -> tuple[list[str], Changed]:
    """Ask running jobs to stop, if the action does that, and change the others.

    With a status, only jobs that are still in it. Returns the ids of those that were
    asked, and what has changed of the others.
    """
    stopped: list[str] = []
    if action in _STOPPING and status in (None, JobStatus.IN_PROGRESS):
        stopped = request_stop(transaction, ids)
    if status is JobStatus.IN_PROGRESS:
        return stopped, Changed([])
    return stopped, change_resting(transaction, ids)


def change_halves(
    change: Callable[[Sequence[str]], BulkChange], job_ids: Sequence[str]
) -> BulkChange:
    """Find the job whose key is taken, and change the others."""
    if len(job_ids) == 1:
        skip = Skip(job_ids[0], SkipReason.DEDUPE_CONFLICT)
        return BulkChange(skipped=(skip,))
    middle = len(job_ids) // 2
    return change(job_ids[:middle]) + change(job_ids[middle:])


def delete(
    transaction: Transaction, ids: Sequence[str], status: JobStatus | None = None
) -> Changed:
    """Delete jobs that are not running; with a status, only those still in it."""
    rows = _locked(transaction, ids)
    if status is None:
        gone = transaction.all("delete_jobs", rows=rows)
    else:
        gone = transaction.all("delete_with_status", rows=rows, status=status.value)
    return Changed(_ids(gone), deleted_turns(gone))


def request_stop(
    transaction: Transaction, ids: Sequence[str], reason: str | None = None
) -> list[str]:
    """Ask running jobs to stop; time and reason of the first request stay."""
    rows = _locked(transaction, ids)
    return _ids(transaction.all("request_cancel", rows=rows, reason=reason))


def requeue(
    transaction: Transaction,
    ids: Sequence[str],
    *,
    restart: bool = False,
    dependents: bool = False,
    named: bool = True,
) -> Changed:
    """Give failed and dead jobs all attempts again, due now; one per dedupe key.

    ``restart`` drops their steps. With ``dependents``, the jobs that died with them
    wait again; those of ``ids`` that died with others do so, too, if they were not
    ``named`` for themselves.
    """
    rows = transaction.all("lock_requeueable", rows=encode_names("job_id", ids))
    died = [row for row in rows if row[4]] if dependents else []
    others = [row for row in rows if not row[4]] if died else rows
    first = _requeue(transaction, others, restart=restart, dependents=dependents)
    if not died:
        return first
    again = {turn.job_id for turn in first.turns}
    ids = [*first.ids, *(row[0] for row in died if row[0] in again)]
    rest = [row for row in died if row[0] not in again]
    if not named:
        return Changed(ids, first.turns, _ids(rest))
    second = _requeue(transaction, rest, restart=restart, dependents=True)
    return Changed([*ids, *second.ids], [*first.turns, *second.turns])


def _requeue(
    transaction: Transaction, rows: Sequence[Row], *, restart: bool, dependents: bool
) -> Changed:
    if not rows:
        return Changed([])
    free = encode_names("job_id", _ids(rows))
    first: dict[str, str] = {}
    keys: dict[str, str] = dict(sorted(transaction.all("dedupe_keys", rows=free)))
    for job_id, key in keys.items():
        first.setdefault(key, job_id)
    blocked = {job_id for job_id, key in keys.items() if first[key] != job_id}
    chosen = [job_id for job_id in _ids(rows) if job_id not in blocked]
    chosen.sort(key=lambda job_id: keys.get(job_id, ""))
    changed = _woken(
        transaction,
        transaction.all("requeue_jobs", rows=encode_names("job_id", chosen)),
    )
    if restart:
        transaction.run("drop_steps", rows=encode_names("job_id", changed))
    done = set(changed)
    dead = [
        row[:3] for row in rows if row[0] in done and row[3] == JobStatus.DEAD.value
    ]
    turns = turns_of(dead, Fate.REOPENED)
    if dependents:
        turns += reopen_dependents(transaction, changed)
    return Changed(changed, turns)


def cancel_waiting(
    transaction: Transaction,
    ids: Sequence[str],
    *,
    message: str,
    at_us: int,
    by_user: bool = True,
) -> list[Row]:
    """End jobs that wait for their start or for a retry.

    The message becomes the last error and an entry of the history, stamped ``at_us``.
    Returns rows of the id, whether a follow-up is declared, the queue and the kind,
    then the columns of :func:`.turns_of`.
    """
    locked = transaction.all("lock_waiting", rows=encode_names("job_id", ids))
    rows = encode_rows(
        {
            "job_id": job_id,
            "error": message,
            "history": append_entry(
                history, at_us=at_us, attempt=attempts, message=message
            ),
        }
        for job_id, attempts, history in locked
    )
    return transaction.all("cancel_waiting", rows=rows, by_user=by_user)


def end_superseded(transaction: Transaction, *, at_us: int, limit: int) -> Changed:
    """End up to ``limit`` failed jobs whose dedupe key another unfinished job holds."""
    ids = _ids(transaction.all("superseded", limit=limit))
    ended = cancel_waiting(
        transaction, ids, message=SUPERSEDED_MESSAGE, at_us=at_us, by_user=False
    )
    return Changed(_ids(ended), cancelled_turns(ended))


def cancelled_turns(rows: Iterable[Row]) -> list[Turn]:
    """Return the turns of rows of :func:`cancel_waiting`."""
    return turns_of(((row[0], *row[4:6]) for row in rows), Fate.DEAD)


def run_now(transaction: Transaction, ids: Sequence[str]) -> Changed:
    """Make jobs due now; an overdue one keeps its place.

    One that waits for others is left alone.
    """
    rows = _locked(transaction, ids)
    return Changed(_woken(transaction, transaction.all("run_now", rows=rows)))


def reschedule(
    transaction: Transaction,
    ids: Sequence[str],
    *,
    run_at_us: int | None = None,
    priority: int | None = None,
    queue_name: str | None = None,
    may_wait: bool = False,
) -> Changed:
    """Change start, priority or queue of waiting jobs; None changes nothing.

    ``run_at_us`` is in microseconds since the epoch; the past means now. In another
    queue, a job loses a dedupe key that is unique per queue. With ``may_wait``, also of
    jobs that wait for others, which start no sooner for it.
    """
    rows = _locked(transaction, ids)
    changed = transaction.all(
        "reschedule",
        rows=rows,
        run_at=run_at_us,
        priority=priority,
        queue_name=queue_name,
        own_mark=MARK,
        may_wait=may_wait,
    )
    return Changed(_woken(transaction, changed))


def reschedule_one(
    transaction: Transaction,
    *,
    job_id: str,
    run_at_us: int | None,
    priority: int | None,
    queue_name: str | None,
) -> None:
    """Reschedule a job, which may wait for others; see :meth:`.JobAdmin.reschedule`."""
    require(transaction, job_id, JobAction.RESCHEDULE)
    if queue_name is not None and not transaction.all("get_queue", name=queue_name):
        raise QueueNotFoundError(queue_name)
    reschedule(
        transaction,
        [job_id],
        run_at_us=run_at_us,
        priority=priority,
        queue_name=queue_name,
        may_wait=True,
    )
    for name in () if queue_name is None else quoted_queues([queue_name]):
        transaction.defer("note_batch_queue", id=job_id, name=name)


def result(
    transaction: Transaction,
    action: JobAction,
    ids: Sequence[str],
    stopped: Sequence[str],
    changed: Changed,
) -> BulkChange:
    """Return the result of an action on jobs, of which it has changed some."""
    done, left = {*stopped, *changed.ids}, {*changed.left}
    others = [each for each in ids if each not in done and each not in left]
    skipped = [Skip(each, SkipReason.WAITING) for each in changed.left]
    skipped += reasons(transaction, action, others)
    return BulkChange(len(done), len(stopped), skipped)


def reasons(
    transaction: Transaction, action: JobAction, ids: Iterable[str]
) -> list[Skip]:
    """Return why an action left jobs alone."""
    left = list(ids)
    if not left:
        return []
    rows = transaction.all("statuses", rows=encode_names("job_id", left))
    states = {job_id: (JobStatus(s), start_at) for job_id, s, start_at in rows}
    return [
        Skip(job_id, _reason(action, *states.get(job_id, (None, None))))
        for job_id in left
    ]


def _reason(
    action: JobAction, status: JobStatus | None, start_at_us: int | None
) -> SkipReason:
    if status is None:
        return SkipReason.NOT_FOUND
    if action in _TIMED and status is JobStatus.PENDING and start_at_us is not None:
        return SkipReason.WAITING
    # Only a retry needs more than the right state: a free dedupe key.
    if action is JobAction.RETRY and status in APPLIES_TO[action]:
        return SkipReason.DEDUPE_CONFLICT
    return SkipReason.WRONG_STATUS


def _locked(transaction: Transaction, ids: Sequence[str]) -> str:
    rows = encode_names("job_id", ids)
    transaction.defer("lock_jobs", rows=rows)
    return rows


def _woken(transaction: Transaction, changed: Sequence[Row]) -> list[str]:
    """Wake the queues of (id, queue) rows; return the ids."""
    for queue_name in sorted({row[1] for row in changed}):
        transaction.wake(queue_name)
    return _ids(changed)


def _ids(rows: Iterable[Row]) -> list[str]:
    return [row[0] for row in rows]
