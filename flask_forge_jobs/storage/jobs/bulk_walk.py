"""The next jobs of a bulk action: those that match a filter, in steps.

The maintained counts say which combinations of state, queue and kind exist; each is
read by index, oldest job first. A step reads at most one batch of rows, matching or
not, all of one state, so its cost does not depend on the size of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flask_forge_jobs.model.bulk import WalkPosition
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.storage.database import Row, Transaction, encode_names
from flask_forge_jobs.storage.jobs.conditions import Conditions

# Queues and kinds that are read at once.
COMBINATIONS = 500


@dataclass(frozen=True, slots=True)
class WalkSelection:
    """The jobs of one step; ``position`` is None at the end of the walk."""

    ids: Sequence[str] = ()
    status: JobStatus | None = None
    position: WalkPosition | None = None


def pick(
    transaction: Transaction,
    job_filter: JobFilter,
    *,
    statuses: Iterable[JobStatus],
    after: WalkPosition | None,
    limit: int,
) -> WalkSelection:
    """Return the next matching jobs in the order of :class:`.WalkPosition`.

    Looks at up to ``limit`` jobs in one of the states, behind ``after``.
    """
    ids: list[str] = []
    last: WalkPosition | None = None
    room = limit
    conditions = Conditions(job_filter)
    possible = conditions.statuses & set(statuses)
    for combination in _combinations(transaction, job_filter, possible, after):
        status, queue_name, kind = combination
        if room == 0 or (last is not None and last.status is not status):
            return WalkSelection(ids, last.status if last else None, last)
        # One more row than there is room for shows whether anything is left.
        rows = _candidates(transaction, combination, after, conditions, room + 1)
        for enqueued_at_us, job_id, matches in rows[:room]:
            last = WalkPosition(status, queue_name, kind, int(enqueued_at_us), job_id)
            if matches:
                ids.append(job_id)
        if len(rows) > room:
            return WalkSelection(ids, status, last)
        room -= len(rows)
    return WalkSelection(ids, last.status if last else None)


def _combinations(
    transaction: Transaction,
    job_filter: JobFilter,
    statuses: frozenset[str],
    after: WalkPosition | None,
) -> Iterator[tuple[JobStatus, str, str]]:
    """Yield combinations with jobs from that of ``after`` on, a page at a time.

    There may be tens of thousands of kinds, and a step needs the first few.
    """
    queues = (
        None if job_filter.queues is None else encode_names("name", job_filter.queues)
    )
    kinds = encode_names("name", job_filter.kinds) if job_filter.kinds else None
    for status in sorted(map(JobStatus, statuses)):
        last = ("", "")
        if after is not None and status <= after.status:
            if status < after.status:
                continue
            last = (after.queue_name, after.kind)
            yield status, *last
        page_size = 1
        rows = [last]
        while len(rows) == page_size:
            page_size = COMBINATIONS
            rows = transaction.all(
                "combinations",
                status=status.value,
                queue_name=rows[-1][0],
                kind=rows[-1][1],
                queues=queues,
                kinds=kinds,
                limit=page_size,
            )
            for queue_name, kind in rows:
                yield status, queue_name, kind


def _candidates(
    transaction: Transaction,
    combination: tuple[JobStatus, str, str],
    after: WalkPosition | None,
    conditions: Conditions,
    limit: int,
) -> list[Row]:
    status, queue_name, kind = combination
    # The empty id sorts first.
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
