"""Whether queues have room for new jobs.

Only what producers add is held back: retries, requeued jobs and those of cron schedules
come in whatever waits already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from flask_forge_jobs.errors import QueueFullError
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.storage.database import Transaction, encode_names


def tightened(
    bounds: Mapping[str, int], queue_names: Iterable[str], most: int | None
) -> Mapping[str, int]:
    """Return the bounds of queues, none of them wider than ``most``."""
    if most is None:
        return bounds
    return {name: min(bounds.get(name, most), most) for name in queue_names}


def admit(
    transaction: Transaction,
    jobs: Sequence[NewJob],
    ids: Sequence[str],
    bounds: Mapping[str, int],
    store: Callable[[], list[EnqueueResult]],
    *,
    is_exact: bool = True,
) -> list[EnqueueResult]:
    """Store jobs if their queues have room for them.

    Args:
        transaction: The open transaction; it must not commit when this raises.
        jobs: What is to be stored.
        ids: Their ids.
        bounds: Most jobs that may wait in a queue; a queue without one takes all.
        store: Stores them.
        is_exact: Producers of the same queue wait for one another; else those at the
            same moment do not see each other.

    Raises:
        QueueFullError: A queue has no room.
    """
    if not bounds or _are_stored(transaction, ids):
        return store()
    if is_exact:
        for name in sorted(bounds):
            transaction.all("lock_queue", name=name)
    # Whether a job with a key is new shows only when it is stored.
    coming = Counter(job.queue for job in jobs if job.dedupe_key is None)
    for name in sorted(bounds.keys() & coming.keys()):
        _require_room(transaction, name, bounds[name] - coming[name])
    results = store()
    keyed = {job.queue for job in jobs if job.dedupe_key is not None}
    new = {each.queue_name for each in results if not each.is_deduped}
    for name in sorted(bounds.keys() & keyed & new):
        _require_room(transaction, name, bounds[name])
    return results


def _are_stored(transaction: Transaction, ids: Sequence[str]) -> bool:
    """Whether a commit before this one has stored them although its answer was lost."""
    if not transaction.attempt:
        return False
    return bool(transaction.all("statuses", rows=encode_names("job_id", ids)))


def _require_room(transaction: Transaction, queue_name: str, most: int) -> None:
    waiting = int(transaction.all("waiting_of_queue", name=queue_name)[0][0])
    if waiting > most:
        raise QueueFullError(queue_name, waiting)
