"""Walking: the next jobs that match a filter, for a verb that changes many.

The maintained counts say which combinations of state, queue and kind exist; each is
read by its index from the oldest job to the newest. A step reads at most a batch of
rows, whether they match or not, so its cost does not depend on how many are stored, and
all of its jobs have one state, which the statement that changes them can repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flask_forge_jobs.model.bulk import Position
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.storage.database import Row, Transaction
from flask_forge_jobs.storage.jobs.conditions import Conditions

Combination = tuple[JobStatus, str, str]


@dataclass(frozen=True, slots=True)
class Picked:
    """The jobs of one step.

    Args:
        ids: The jobs that match.
        status: The state of all of them; None when there are none.
        position: The last job that was looked at; None at the end of the walk.
    """

    ids: Sequence[str] = ()
    status: JobStatus | None = None
    position: Position | None = None


def pick(
    transaction: Transaction,
    wanted: JobFilter,
    *,
    statuses: Iterable[JobStatus],
    after: Position | None,
    limit: int,
) -> Picked:
    """Return the next matching jobs in the order of :class:`.Position`.

    Args:
        transaction: An open read transaction.
        wanted: Which jobs.
        statuses: Only jobs in one of these states.
        after: Start behind this job; None starts at the first.
        limit: Look at so many jobs at most.
    """
    ids: list[str] = []
    last: Position | None = None
    room = limit
    conditions = Conditions(wanted)
    possible = conditions.statuses & set(statuses)
    for combination in _combinations(transaction, wanted, possible, after):
        status, queue_name, kind = combination
        if room == 0 or (last is not None and last.status is not status):
            return Picked(ids, last.status if last else None, last)
        # One row more than there is room for tells whether anything is left.
        rows = _candidates(transaction, combination, after, conditions, room + 1)
        for enqueued_at_us, job_id, matches in rows[:room]:
            last = Position(status, queue_name, kind, int(enqueued_at_us), job_id)
            if matches:
                ids.append(job_id)
        if len(rows) > room:
            return Picked(ids, status, last)
        room -= len(rows)
    return Picked(ids, last.status if last else None)


def _combinations(
    transaction: Transaction,
    wanted: JobFilter,
    statuses: frozenset[str],
    after: Position | None,
) -> list[Combination]:
    found = {
        (JobStatus(status), queue_name, kind)
        for queue_name, kind, status, _, _ in transaction.all("counts")
        if status in statuses
        and wanted.has_queue(queue_name)
        and (not wanted.kinds or kind in wanted.kinds)
    }
    return sorted(each for each in found if after is None or each >= after[:3])


def _candidates(
    transaction: Transaction,
    combination: Combination,
    after: Position | None,
    conditions: Conditions,
    limit: int,
) -> list[Row]:
    status, queue_name, kind = combination
    # No id comes before the empty one.
    start = (conditions.from_at, "")
    if after is not None and after[:3] == combination:
        start = (after.enqueued_at_us, after.id)
    return transaction.all(
        "walk",
        status=status.value,
        queue_name=queue_name,
        kind=kind,
        after_at=start[0],
        after_id=start[1],
        limit=limit,
        **conditions.of_combinations(),
    )
