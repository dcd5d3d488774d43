"""Stores many jobs that may clash with others, without deadlocks.

Keys are taken in one order. What a job may replace is locked before, and written to
after the last key. What turns up in between, a key that is free again or its new
holder, is locked out of order, so it is waited for only briefly.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from flask_forge_jobs.errors import InvalidInputError, StorageBusyError
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.storage.columns import new_parameters
from flask_forge_jobs.storage.database import Transaction, TransientError, encode_rows
from flask_forge_jobs.storage.jobs.holders import (
    BULK_ROWS,
    NewPair,
    find_many,
    lock_pending,
    may_replace,
    new_result,
    recent,
    replaced,
    take_back,
)

# The holder of a key may finish between the insert and the look-up.
ROUNDS = 3


def in_lock_order(pairs: Iterable[NewPair]) -> list[NewPair]:
    """Return jobs in the order of their keys, of several with one id the first.

    Raises:
        InvalidInputError: Jobs of different kinds have one id.
    """
    first: dict[str, NewPair] = {}
    for job, job_id in pairs:
        before, _ = first.setdefault(job_id, (job, job_id))
        if before.kind != job.kind:
            raise InvalidInputError("job_id", "is the id of a job of another kind")
    return sorted(first.values(), key=_lock_order)


def _lock_order(pair: NewPair) -> tuple[str, str]:
    job, job_id = pair
    key = job.stored_key
    # The jobs of one key keep their order. Without a key the id is one, too: the caller
    # may have chosen it.
    return (key, "") if key else ("", job_id)


def store_keyed(
    transaction: Transaction, pairs: Sequence[NewPair], created: set[str]
) -> dict[str, EnqueueResult]:
    """Store jobs that come :func:`in_lock_order`; return the results by id.

    Raises:
        TransientError: The transaction has to begin anew; one of the caller, from the
            savepoint.
    """
    ours = lock_pending(transaction, pairs)
    results = _store_unheld(transaction, pairs, created, ours)
    left = _unsettled(pairs, results, ours)
    if left:
        with transaction.brief_waits():
            for _ in range(ROUNDS):
                ours |= lock_pending(transaction, left)
                results |= _store_unheld(transaction, left, created, ours)
                left = _unsettled(left, results, ours)
                if not left:
                    break
            else:
                raise TransientError(changes_hands(left[0][0]))
    return _replaced_all(transaction, pairs, results)


def changes_hands(job: NewJob) -> StorageBusyError:
    """Return the error for a key that is taken and given up again and again."""
    return StorageBusyError(
        f"dedupe key {job.dedupe_key!r} was taken and released repeatedly; retry"
    )


def _store_unheld(
    transaction: Transaction,
    pairs: Sequence[NewPair],
    created: set[str],
    ours: set[str],
) -> dict[str, EnqueueResult]:
    """Store the jobs whose key nobody holds; return the results, also for the others.

    Those whose key is taken in between have none, nor has the second job of a key. Adds
    the ids that were stored to ``ours``.
    """
    results = find_many(transaction, pairs)
    first = _first_of_each_key(transaction, pairs, results)
    for start in range(0, len(first), BULK_ROWS):
        piece = {job_id: job for job, job_id in first[start : start + BULK_ROWS]}
        rows = encode_rows(new_parameters(job, job_id) for job_id, job in piece.items())
        for job_id, due_us in transaction.all("enqueue_many", rows=rows):
            results[job_id] = new_result(piece[job_id], job_id, due_us, created)
            ours.add(job_id)
    for job, job_id in first:
        if job.dedupe_for is not None and job_id in ours:
            # Another job may have come and ended since the look-up; now that our row
            # is in place, no further one can.
            earlier = recent(transaction, job, job_id)
            if earlier is not None:
                take_back(transaction, job_id)
                ours.discard(job_id)
                results[job_id] = earlier
    return results


def _unsettled(
    pairs: Iterable[NewPair], results: Mapping[str, EnqueueResult], ours: Container[str]
) -> list[NewPair]:
    """Return jobs that have no result, or a holder to be replaced that is not ours."""

    def is_settled(job: NewJob, job_id: str) -> bool:
        result = results.get(job_id)
        return result is not None and (
            not may_replace(job, result) or result.id in ours
        )

    return [pair for pair in pairs if not is_settled(*pair)]


def _replaced_all(
    transaction: Transaction,
    pairs: Iterable[NewPair],
    results: Mapping[str, EnqueueResult],
) -> dict[str, EnqueueResult]:
    """Replace fields of pending jobs; return the results for all."""
    last: dict[str, EnqueueResult] = {}
    final: dict[str, EnqueueResult] = {}
    for job, job_id in pairs:
        result = results[job_id]
        if may_replace(job, result):
            result = replaced(transaction, job, job_id) or result
            last[result.id] = result
        elif result.is_deduped and result.id in last:
            result = last[result.id]._replace(is_replaced=False)
        final[job_id] = result
    return final


def _first_of_each_key(
    transaction: Transaction,
    pairs: Iterable[NewPair],
    results: dict[str, EnqueueResult],
) -> list[NewPair]:
    """Return the jobs without a result that are the first of their key.

    One whose window has a job already gets that as its result instead.
    """
    seen: set[str] = set()
    first = []
    for job, job_id in pairs:
        key = job.stored_key
        if job_id in results or key in seen:
            continue
        if job.dedupe_for is not None:
            earlier = recent(transaction, job, job_id)
            if earlier is not None:
                results[job_id] = earlier
                continue
        first.append((job, job_id))
        if key is not None:
            seen.add(key)
    return first
