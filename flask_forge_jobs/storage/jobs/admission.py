"""Whether the queue of a new job has room for it.

Limits of queues restrict only jobs of producers; retries, requeued jobs and jobs of
schedules always come in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from flask_forge_jobs.errors import QueueFullError
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.storage.database import Transaction, encode_names


def tightened(
    bounds: Mapping[str, int], queue_names: Iterable[str], maximum: int | None
) -> Mapping[str, int]:
    """Return the bounds of queues, none above ``maximum``; None changes nothing."""
    if maximum is None:
        return bounds
    return {name: min(bounds.get(name, maximum), maximum) for name in queue_names}


def admit(
    transaction: Transaction,
    jobs: Sequence[NewJob],
    ids: Sequence[str],
    bounds: Mapping[str, int],
    store: Callable[[], list[EnqueueResult]],
    *,
    is_exact: bool = True,
) -> list[EnqueueResult]:
    """Store jobs if their queues have room; the transaction must not commit otherwise.

    A queue without a bound takes any number. With ``is_exact``, producers of a queue
    wait for one another; otherwise concurrent ones do not see each other's jobs.
    """
    if not bounds or _are_stored(transaction, jobs, ids):
        return store()
    if is_exact:
        for name in sorted(bounds):
            transaction.all("lock_queue", name=name)
    # Only the insert shows whether a job with a dedupe key is new.
    coming = Counter(job.queue for job in jobs if job.dedupe_key is None)
    for name in sorted(bounds.keys() & coming.keys()):
        _require_room(transaction, name, bounds[name] - coming[name])
    results = store()
    keyed = {job.queue for job in jobs if job.dedupe_key is not None}
    new = {each.queue_name for each in results if not each.is_deduped}
    for name in sorted(bounds.keys() & keyed & new):
        _require_room(transaction, name, bounds[name])
    return results


def _are_stored(
    transaction: Transaction, jobs: Sequence[NewJob], ids: Sequence[str]
) -> bool:
    """Whether an earlier commit, whose answer was lost, has stored the jobs."""
    if not transaction.attempt:
        return False
    pairs = zip(jobs, ids, strict=True)
    # An id that the caller has chosen may be that of a job from another call.
    asked = [job_id for job, job_id in pairs if job.job_id is None] or ids
    return bool(transaction.all("statuses", rows=encode_names("job_id", asked)))


def _require_room(transaction: Transaction, queue_name: str, bound: int) -> None:
    waiting = int(transaction.all("waiting_of_queue", name=queue_name)[0][0])
    if waiting > bound:
        raise QueueFullError(queue_name, waiting)
