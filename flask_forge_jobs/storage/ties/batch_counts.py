"""The counts of batches, and the events that they reach.

SQLite counts in place, in the transaction that changes a job. PostgreSQL appends the
change, so that no such transaction waits for the row of the batch, and folds it soon
after; the rows that wait for that outlive any process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flask_forge_jobs.ids import runs
from flask_forge_jobs.model.batches import Batch, BatchEvent, Completion, queues_of
from flask_forge_jobs.model.instants import from_micros, optional_from_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.links import LinkEnd
from flask_forge_jobs.storage.database import (
    Query,
    Row,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.ties.links import LinkEnding
from flask_forge_jobs.storage.ties.turns import Fate, Turn

# The counts in forge_batch_change, in their order.
_COLUMNS = ("added", "done", "removed", "dead")
_COUNTED = {
    Fate.DONE: (0, 1, 0, 0),
    Fate.DEAD: (0, 0, 0, 1),
    Fate.REMOVED: (0, 0, 1, 0),
    Fate.REOPENED: (0, 0, 0, -1),
}
_NOTHING = (0, 0, 0, 0)
# Up to so many travel with other statements, and COPY takes two trips of its own.
_FEW_RANGES = 100


class BatchCounts:
    """The changes of the counts of batches that one transaction makes."""

    def __init__(self) -> None:
        self._changes: dict[str, list[int]] = defaultdict(lambda: [0] * len(_COLUMNS))

    def add(self, batch_id: str, change: Sequence[int]) -> None:
        """Add a change of a batch: added, done, removed and dead jobs."""
        if any(change):
            sums = self._changes[batch_id]
            sums[:] = [a + b for a, b in zip(sums, change, strict=True)]

    def touch(self, batch_id: str) -> None:
        """Have a batch settled whose counts do not change."""
        self._changes[batch_id][0] += 0

    def add_jobs(self, batch_id: str, count: int) -> None:
        """Add new jobs of a batch."""
        self.add(batch_id, (count, 0, 0, 0))

    def add_turns(self, turns: Iterable[Turn]) -> None:
        """Add what has become of jobs."""
        alike = Counter((e.batch_id, e.fate) for e in turns if e.batch_id is not None)
        for (batch_id, fate), count in alike.items():
            change = _COUNTED.get(fate)
            if change is not None:
                self.add(batch_id, [count * each for each in change])

    def note(self, transaction: Transaction) -> list[str]:
        """Store the changes; return the batches, in the order of their ids."""
        changes = dict(sorted(self._changes.items()))
        self._changes.clear()
        if changes:
            rows = encode_rows(
                {"batch_id": batch_id, **dict(zip(_COLUMNS, sums, strict=True))}
                for batch_id, sums in changes.items()
            )
            transaction.defer("note_batch_changes", rows=rows)
        return list(changes)


def changes_of(batch_id: str, added: int = 0) -> BatchCounts:
    """Return the changes of a batch that gets jobs or, without, is to be settled."""
    counts = BatchCounts()
    counts.touch(batch_id)
    counts.add_jobs(batch_id, added)
    return counts


def batch_from_row(row: Row) -> Batch:
    """Return the batch of a row of ``get_batch``."""
    values = list(row)
    for index in (7, 8):
        values[index] = bool(values[index])
    for index in (10, 11, 12):
        text = values[index]
        values[index] = None if text is None else Completion.from_text(text)
    for index in (9, 13, 14, 15, 19):
        values[index] = optional_from_micros(values[index])
    for index in (17, 18):
        values[index] = from_micros(values[index])
    values[20] = queues_of(values[20])
    return Batch(*values)


def batch_query(batch_id: str) -> Query:
    """Return the query of a batch with exact counts, but not how many jobs run."""
    return "batch_counts", {"id": batch_id}


class Reached(NamedTuple):
    """What a batch has come to: jobs to store, and news for others.

    ``outer`` is the change of the counts of the batch around it.
    """

    jobs: Sequence[tuple[NewJob, str]] = ()
    outer: Sequence[int] = _NOTHING
    link: LinkEnding | None = None


def reach(transaction: Transaction, batch: Batch) -> Reached:
    """Mark the events that a batch, which is locked, has come to; return them."""
    events = _events(batch)
    has_ended = batch.has_ended
    # Only the first time: jobs that were retried are not to be ended by others.
    cancels = batch.cancel_on_dead and BatchEvent.DEAD in events and not has_ended
    is_news = has_ended != (batch.completed_at is not None)
    if not (events or is_news or (cancels and batch.cancel_requested_at is None)):
        return Reached()
    transaction.defer(
        "mark_batch",
        id=batch.id,
        has_ended=has_ended,
        has_succeeded=has_ended and not batch.dead,
        has_died=batch.dead > 0,
        is_cancelled=cancels,
    )
    jobs = [each for event in events if (each := batch.completion(event)) is not None]
    outer, link = list(_NOTHING), None
    if is_news and has_ended:
        outer = list(_COUNTED[Fate.DEAD if batch.dead else Fate.DONE])
        ended = LinkEnd.DEAD if batch.dead else LinkEnd.DONE
        link = LinkEnding(ended, batch.counts_text())
    elif is_news:  # a dead job was retried
        outer = list(_COUNTED[Fate.REOPENED])
    outer[0] = len(jobs)
    return Reached(jobs, outer, link)


def _events(batch: Batch) -> list[BatchEvent]:
    events = []
    if batch.dead and batch.died_at is None:
        events.append(BatchEvent.DEAD)
    if batch.has_ended and batch.finished_at is None:
        events.append(BatchEvent.FINISHED)
    if batch.has_ended and not batch.dead and batch.succeeded_at is None:
        events.append(BatchEvent.SUCCESS)
    return events


def mark_dead(transaction: Transaction, turns: Iterable[Turn]) -> None:
    """Note in their batches which jobs are dead, and which no longer."""
    dead: set[tuple[str, str]] = set()
    gone: set[tuple[str, str]] = set()
    for each in turns:
        if each.batch_id is not None and each.fate is not Fate.DONE:
            chosen = dead if each.fate is Fate.DEAD else gone
            chosen.add((each.batch_id, each.job_id))
    for name, chosen in ("add_dead_of_batch", dead), ("forget_dead_of_batch", gone):
        if chosen:
            rows = encode_rows({"batch_id": b, "job_id": j} for b, j in sorted(chosen))
            transaction.defer(name, rows=rows)


def add_members(transaction: Transaction, batch_id: str, ids: Iterable[str]) -> None:
    """Add jobs, which are counted apart, to the lists of a batch."""
    ranges = [(batch_id, *each) for each in runs(sorted(ids))]
    if len(ranges) > _FEW_RANGES:
        transaction.copy_rows("add_batch_ranges", ranges)
        return
    names = "batch_id", "first_id", "last_id"
    rows = encode_rows(dict(zip(names, each, strict=True)) for each in ranges)
    transaction.defer("add_few_ranges", rows=rows)


def forget_batches(transaction: Transaction, turns: Iterable[Turn]) -> list[Row]:
    """Delete those batches of deleted jobs that have ended and lost their last one.

    Returns id and outer batch of each.
    """
    names = sorted({e.batch_id for e in turns if e.batch_id is not None})
    if not names:
        return []
    rows = encode_names("batch_id", names)
    return transaction.all("forget_batches", rows=rows)
