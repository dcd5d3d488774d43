"""Settles the turns of jobs: for those that wait for them, and for their batches.

Every statement that ends, reopens or deletes jobs reports them here, within its
transaction, so that nobody waits for a job that will never say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.links import LinkEnd
from flask_forge_jobs.storage.columns import AWAITED
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.pace import Pace
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.ties import links
from flask_forge_jobs.storage.ties.batch_counts import (
    BatchCounts,
    add_members,
    batch_from_row,
    forget_batches,
    mark_dead,
    reach,
)
from flask_forge_jobs.storage.ties.links import LinkEnding
from flask_forge_jobs.storage.ties.turns import Fate, Turn

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
EnqueuedKinds = Sequence[tuple[str, str]]
"""Queue and kind of jobs."""
_ENDS = {
    Fate.DONE: LinkEnding(LinkEnd.DONE),
    Fate.DEAD: LinkEnding(LinkEnd.DEAD),
    Fate.REMOVED: LinkEnding(LinkEnd.DELETED),
}
_DELETED = (Fate.REMOVED, Fate.DELETED)


class FollowUpJobs(Protocol):
    """Stores jobs that follow the end of others."""

    def store(
        self,
        transaction: Transaction,
        jobs: Sequence[NewJob],
        ids: Sequence[str] | None = None,
    ) -> EnqueuedKinds:
        """Store jobs."""

    def store_declared(
        self, transaction: Transaction, ids: Sequence[str], ending: Ending
    ) -> EnqueuedKinds:
        """Store the declared follow-ups of jobs that end in this transaction."""


@dataclass(slots=True)
class Settled:
    """What one transaction has done for others, to be counted after its commit.

    Attributes:
        made: Jobs that were stored.
        cancelled: Waiting jobs that a user cancelled.
        died: Jobs that died with one that they waited for.
        noted: Batches whose changes are still to be folded.
    """

    made: list[tuple[str, str]] = field(default_factory=list)
    cancelled: list[tuple[str, str]] = field(default_factory=list)
    died: list[tuple[str, str]] = field(default_factory=list)
    noted: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """Forget a transaction that is tried again."""
        self.made.clear()
        self.cancelled.clear()
        self.died.clear()
        self.noted.clear()


class SettlingWork(Protocol[R_co]):
    """A unit of work that takes note of what it settles."""

    def __call__(self, transaction: Transaction, /, *, settled: Settled) -> R_co:
        """Do it."""


class Settlement:
    """Settles turns within the transactions that make them.

    Attributes:
        copies_links: Whether ``COPY`` stores many links, in a message of its own.
    """

    def __init__(
        self,
        database: StoreExecutor,
        clock: Clock,
        follow_ups: FollowUpJobs,
        recorder: Recorder,
    ) -> None:
        self._database = database
        self._clock = clock
        self._follow_ups = follow_ups
        self._recorder = recorder
        self._counts_in_place = database.backend == "sqlite"
        self.copies_links = not self._counts_in_place

    def settle(
        self, transaction: Transaction, turns: Sequence[Turn], settled: Settled
    ) -> None:
        """Settle what has become of jobs in this transaction."""
        if not turns:
            return
        counts = BatchCounts()
        self._settle_jobs(transaction, turns, counts, settled)
        done = Fate.DONE
        others = [each for each in turns if each.fate is not done]
        deleted = [each for each in others if each.fate in _DELETED]
        if deleted:
            links.forget(transaction, deleted)
        reopened = {e.batch_id for e in others if e.fate is Fate.REOPENED}
        for batch_id in sorted(filter(None, reopened)):
            # Or its cancellation would end them again.
            transaction.defer("allow_batch", id=batch_id)
        self.count(transaction, counts, settled)
        self._forget(transaction, [e for e in deleted if e.fate is Fate.DELETED])

    def _settle_jobs(
        self,
        transaction: Transaction,
        turns: Sequence[Turn],
        counts: BatchCounts,
        settled: Settled,
    ) -> None:
        """Release the jobs that wait for those that ended, and theirs if they die."""
        while turns:
            counts.add_turns(turns)
            mark_dead(transaction, turns)
            ended = {
                each.job_id: ending
                for each in turns
                if each.ties & AWAITED and (ending := _ENDS.get(each.fate))
            }
            turns = self._release(transaction, ended, settled) if ended else ()

    def _release(
        self,
        transaction: Transaction,
        ended: Mapping[str, LinkEnding],
        settled: Settled,
    ) -> list[Turn]:
        dying = links.release(transaction, ended, self._clock.now_us())
        if not dying:
            return []
        ids = [each.id for each in dying]
        settled.died += [(each.queue_name, each.kind) for each in dying]
        settled.made += self._follow_ups.store_declared(transaction, ids, Ending.DEAD)
        return [Turn(e.id, e.batch_id, e.ties, Fate.DEAD) for e in dying]

    def release_ended(
        self,
        transaction: Transaction,
        ended: Mapping[str, LinkEnding],
        settled: Settled,
        counts: BatchCounts,
    ) -> None:
        """Release jobs from parents that had ended before they were stored."""
        turns = self._release(transaction, ended, settled)
        self._settle_jobs(transaction, turns, counts, settled)

    # -- batches ---------------------------------------------------------------------

    def count(
        self, transaction: Transaction, counts: BatchCounts, settled: Settled
    ) -> None:
        """Store the changes of counts; on SQLite, also what comes of them."""
        noted = counts.note(transaction)
        if not self._counts_in_place:
            settled.noted.update(noted)
            return
        for batch_id in noted:
            self.fold(transaction, batch_id, settled)

    def fold(self, transaction: Transaction, batch_id: str, settled: Settled) -> bool:
        """Fold the changes of a batch, and do what its counts have come to.

        Returns False if another session is at it, which may not see all of them.
        """
        rows = transaction.all("fold_batch", id=batch_id)
        if not rows or rows[0][0] is None:
            return not rows
        batch = batch_from_row(rows[0])
        reached = reach(transaction, batch)
        counts = BatchCounts()
        if reached.jobs:
            jobs, ids = zip(*reached.jobs, strict=True)
            settled.made += self._follow_ups.store(transaction, jobs, ids)
        if batch.within is not None:
            if reached.jobs:
                add_members(transaction, batch.within, [i for _, i in reached.jobs])
            counts.add(batch.within, reached.outer)
        if reached.link is not None:
            ended = {batch_id: reached.link}
            self.release_ended(transaction, ended, settled, counts)
        self.count(transaction, counts, settled)
        return True

    @staticmethod
    def _forget(transaction: Transaction, deleted: Iterable[Turn]) -> None:
        """Delete batches that have lost their last job, and those around them."""
        turns = list(deleted)
        while turns:
            gone = forget_batches(transaction, turns)
            turns = [
                Turn(batch_id, within, 0, Fate.DELETED)
                for batch_id, within in gone
                if within is not None
            ]

    # -- transactions ------------------------------------------------------------------

    def run(
        self,
        work: SettlingWork[T],
        changed: Callable[[T], int] = lambda _: 0,
        pace: Pace | None = None,
    ) -> tuple[T, Settled]:
        """Run a unit of work that settles something, and count what that did.

        ``changed`` returns the number of changes that it makes on behalf of a request
        from its result; ``pace`` spaces it out.
        """
        settled = Settled()

        def unit(transaction: Transaction) -> T:
            settled.clear()
            return work(transaction, settled=settled)

        result = self._database.write_batch(unit, changed, pace)
        self.after_commit(settled)
        return result, settled

    # -- after the commit --------------------------------------------------------------

    def after_commit(self, settled: Settled) -> None:
        """Count what was done."""
        if settled.made:
            self._database.when_stored(self._recorder.enqueued_many, settled.made)
        if settled.cancelled:
            self._database.when_stored(self._recorder.cancelled_many, settled.cancelled)
        for queue_name, kind in settled.died:
            self._database.when_stored(
                self._recorder.rescued, queue_name, kind, Ending.DEAD
            )
