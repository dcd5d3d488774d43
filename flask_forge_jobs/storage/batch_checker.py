"""BatchChecker: compares the counts of batches with their rows, and corrects them.

The counts of a batch change with its jobs, in one transaction. They differ only if rows
were changed by hand, or by a fault. Without a check, such a batch would be open for
ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.storage.batches import BatchStore
from flask_forge_jobs.storage.database import Row, Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.ties.batch_counts import BatchCounts
from flask_forge_jobs.storage.ties.settlement import Settled, Settlement

# A younger batch may still be stored.
_AGE_US = 60 * SECOND_US
# One look reads so many batches, and of these no more than so many jobs, or one batch.
MAX_BATCHES = 100
MAX_JOBS = 100_000
# To read a larger one takes longer than a leader has.
LARGEST = 1_000_000


class Counts(NamedTuple):
    """The counts of a batch, or of its rows; ``removed`` jobs have no row."""

    total: int
    done: int
    dead: int
    removed: int = 0

    @property
    def unfinished(self) -> int:
        """Jobs that have not ended."""
        return self.total - self.done - self.dead - self.removed


class BatchFault(NamedTuple):
    """An open batch whose counts are wrong: jobs that it counts, and that it has."""

    id: str
    name: str
    counted: int
    unfinished: int


class Look(NamedTuple):
    """The faults of some batches, and where the next look goes on: 0 at the begin."""

    faults: Sequence[BatchFault]
    last_us: int = 0


class BatchChecker:
    """Compares open batches of which no job runs with their rows."""

    def __init__(
        self, database: StoreExecutor, batches: BatchStore, settlement: Settlement
    ) -> None:
        self._database = database
        self._batches = batches
        self._settlement = settlement

    def look(self, since_us: int = 0, *, max_jobs: int = MAX_JOBS) -> Look:
        """Compare the oldest batches, or those behind another look; changes nothing.

        Batches of more than a million jobs are left out.

        Args:
            since_us: Where an earlier look ended.
            max_jobs: Batches with more jobs in all are left for the next look.
        """
        stale = self._database.read_one(
            "stale_batches",
            since_us=since_us,
            age_us=_AGE_US,
            largest=LARGEST,
            limit=MAX_BATCHES,
        )
        faults: list[BatchFault] = []
        last_us, read = 0, 0
        for created_us, batch_id, name, total in stale:
            read += total
            if last_us and read > max_jobs:
                return Look(faults, last_us)
            last_us = created_us
            rows = self._database.read_one("batch_against_rows", id=batch_id)
            if rows and (fault := _fault(batch_id, name, rows[0])):
                faults.append(fault)
        return Look(faults, last_us if len(stale) == MAX_BATCHES else 0)

    def correct(self, fault: BatchFault) -> bool:
        """Correct the counts of a batch, and do what they have come to.

        Returns False if they are right by now, or another session has the batch.
        """

        def work(transaction: Transaction, *, settled: Settled) -> bool:
            rows = transaction.all("fold_batch", id=fault.id)
            if not rows or rows[0][0] is None:
                return False
            counts = BatchCounts()
            change = _change(transaction, fault.id)
            counts.add(fault.id, change)
            counts.touch(fault.id)
            self._settlement.count(transaction, counts, settled)
            return any(change)

        is_changed, _ = self._settlement.run(work)
        self._batches.fold([fault.id])
        return is_changed

    def drop_ended_holds(self) -> None:
        """Forget the jobs that wait for dead ones no longer."""
        self._database.write(lambda tx: tx.run("drop_ended_holds"))


def correction(counted: Counts, rows: Counts) -> tuple[int, int, int, int]:
    """Return what to add to counts, in the order of :class:`.BatchCounts`.

    Jobs that were deleted have no row and stay counted, as done or dead if they had
    ended. So counts that are greater than the rows may be right; those are changed
    which leave the unfinished jobs equal to the rows.
    """
    total = max(counted.total, rows.total)
    done, dead = max(counted.done, rows.done), max(counted.dead, rows.dead)
    removed = counted.removed
    # Jobs without a row, of which too many or too few are counted.
    gone = total - rows.total
    excess = (done - rows.done) + (dead - rows.dead) + removed - gone
    if excess < 0:
        removed -= excess
    else:
        less = min(excess, done - rows.done)
        done, excess = done - less, excess - less
        less = min(excess, dead - rows.dead)
        dead, excess = dead - less, excess - less
        removed -= excess
    return (
        total - counted.total,
        done - counted.done,
        removed - counted.removed,
        dead - counted.dead,
    )


def _change(transaction: Transaction, batch_id: str) -> tuple[int, int, int, int]:
    rows = transaction.all("batch_against_rows", id=batch_id)
    return correction(*_both(rows[0])) if rows else (0, 0, 0, 0)


def _fault(batch_id: str, name: str, row: Row) -> BatchFault | None:
    """Return what is wrong: counts, or that nobody has noticed the end of a batch."""
    counted, rows = _both(row)
    is_over = bool(row[-1]) and not counted.unfinished
    if not (is_over or any(correction(counted, rows))):
        return None
    return BatchFault(batch_id, name, counted.unfinished, rows.unfinished)


def _both(row: Row) -> tuple[Counts, Counts]:
    numbers = [int(number or 0) for number in row[:-1]]
    return Counts(*numbers[:4]), Counts(*numbers[4:])
