"""BatchStore: batches of jobs, from their creation to the end of their last job.

Whatever a batch does goes in small transactions, of which each may be the last one of
its process: :meth:`BatchStore.tend`, which every worker calls, goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from flask_forge_jobs.errors import (
    BatchNotFoundError,
    BatchUnfinishedError,
    ConflictError,
    InvalidInputError,
)
from flask_forge_jobs.model.batches import (
    Batch,
    BatchEvent,
    Completion,
    CreatedBatch,
    NewBatch,
    quoted_queues,
)
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import (
    FINAL,
    MAX_BULK_JOBS,
    EnqueueResult,
    JobStatus,
    NewJob,
)
from flask_forge_jobs.model.ordering import FROM_THE_OLDEST
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.batch_reader import BatchReader, chosen
from flask_forge_jobs.storage.database import Parameter, Transaction
from flask_forge_jobs.storage.executor import Mint, StoreExecutor
from flask_forge_jobs.storage.jobs import bulk
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.jobs.enqueue import Frame, above
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.jobs.tying import lock_batches, note_queues, require_open
from flask_forge_jobs.storage.pace import BATCH
from flask_forge_jobs.storage.ties.batch_counts import batch_query, changes_of
from flask_forge_jobs.storage.ties.settlement import Settled
from flask_forge_jobs.storage.ties.turns import Fate, Turn

# One deep in another end in one transaction, each within the end of the next.
MAX_NESTED = 50
# Batches that one call of tend() looks at.
TENDED_AT_ONCE = 100
OPEN_S = 3600.0
IsOver = Callable[[], bool]


class BatchStore(BatchReader):
    """Creates, reads and changes batches."""

    def __init__(
        self, database: StoreExecutor, jobs: JobQueue, admin: JobAdmin, mint: Mint
    ) -> None:
        super().__init__(database)
        self._jobs = jobs
        self._admin = admin
        self._mint = database.pinned(mint)
        self._settlement = jobs.settlement

    # -- producing -------------------------------------------------------------------

    def mint(self, count: int, *, above_all: Sequence[str] = ()) -> list[str]:
        """Return new ids for jobs, ascending and behind all of some others."""
        minted = self._mint(count)
        return above(minted, max(above_all)) if above_all else minted

    def create(
        self,
        new: NewBatch,
        jobs: Sequence[NewJob] = (),
        *,
        ids: Sequence[str] | None = None,
        is_sealed: bool = True,
        connection: object | None = None,
        key: RequestKey | None = None,
        max_waiting: int | None = None,
    ) -> CreatedBatch:
        """Store a batch and its first jobs, all or none.

        Args:
            new: The batch.
            jobs: Up to 10,000 jobs; they may wait for one another.
            ids: Ids minted for them, in the same order and ascending.
            is_sealed: Whether these are all its jobs, so that it ends with them.
            connection: Store all in this connection's transaction; see
                :meth:`.JobQueue.enqueue`.
            key: Makes a repeated call safe; its operation names all that is asked for.
            max_waiting: As for :meth:`.JobQueue.enqueue`.

        Returns:
            The id of the batch, and a result for each job.

        Raises:
            BatchNotFoundError: There is no batch to count this one.
            BatchEndedError: That one has ended or is cancelled.
            InvalidInputError: There are more than 10,000 jobs.
            RequestKeyReusedError: The request key was used for something else.
            QueueFullError: A queue is full.
            StorageOutcomeUnknownError: All may be stored.
            StorageError: Nothing was stored.
        """
        chosen = new.follow_ups or {}
        events = [event for event in BatchEvent if event in chosen]
        batch_id, *minted = self._mint(1 + len(events))
        if new.within is not None:
            (batch_id,) = above([batch_id], new.within)
        batch_id = new.batch_id or batch_id
        new = new.with_queues(jobs)
        texts: dict[str, Parameter] = dict.fromkeys(event.value for event in BatchEvent)
        for event, job_id in zip(events, minted, strict=True):
            texts[event.value] = Completion(job_id, chosen[event]).to_text()

        def before(transaction: Transaction, settled: Settled) -> None:
            self._insert(transaction, new, batch_id, texts, settled)

        def after(transaction: Transaction, settled: Settled) -> None:
            name = "seal_batch"
            if is_sealed and transaction.attempt:  # it may be stored, and sealed
                self._change(transaction, settled, name=name, batch_id=batch_id)
            elif is_sealed:
                transaction.defer(name, id=batch_id)
                self._settlement.count(transaction, changes_of(batch_id), settled)

        frame = Frame(before, after, key, batch_id, max_waiting, batch_id)
        results = self._add(jobs, ids, connection, frame)
        if key is None:
            return CreatedBatch(batch_id, results)
        whole, *results = results
        return CreatedBatch(whole.id, results, whole.is_replayed)

    def _insert(
        self,
        transaction: Transaction,
        new: NewBatch,
        batch_id: str,
        texts: dict[str, Parameter],
        settled: Settled,
    ) -> None:
        if new.within is not None:
            outer = lock_batches(transaction, [new.within]).get(new.within)
            require_open(new.within, outer)
            ((depth,),) = transaction.all("depth_of_batch", id=new.within)
            if depth >= MAX_NESTED:
                raise InvalidInputError(
                    "within", f"batches are nested {MAX_NESTED} deep at most"
                )
            note_queues(transaction, outer, frozenset(new.queues))
        values: dict[str, Parameter] = dict(
            id=batch_id,
            name=new.name,
            data=new.data,
            is_sealed=False,
            cancel_on_dead=new.cancel_on_dead,
            within=new.within,
            queues=",".join(quoted_queues(new.queues)),
            **texts,
        )
        if new.batch_id is None and new.within is None:
            transaction.defer("create_batch", **values)  # nobody else can have the id
            return
        created = transaction.all("create_batch", **values)
        if not created and not transaction.attempt:
            raise InvalidInputError("batch_id", "is the id of another batch")
        if created and new.within is not None:
            transaction.defer("note_addition", id=new.within)
            self._settlement.count(transaction, changes_of(new.within, 1), settled)

    def add(
        self,
        batch_id: str,
        jobs: Sequence[NewJob],
        *,
        ids: Sequence[str] | None = None,
        connection: object | None = None,
        key: RequestKey | None = None,
        max_waiting: int | None = None,
    ) -> list[EnqueueResult]:
        """Add up to 10,000 jobs, all or none; arguments as for :meth:`create`.

        Raises:
            BatchNotFoundError: No batch has this id.
            BatchEndedError: The batch has ended or is cancelled.
        """
        frame = Frame(key=key, max_waiting=max_waiting, batch_id=batch_id)
        return self._add(jobs, ids, connection, frame)

    def _add(
        self,
        jobs: Sequence[NewJob],
        ids: Sequence[str] | None,
        connection: object | None,
        frame: Frame,
    ) -> list[EnqueueResult]:
        if len(jobs) > MAX_BULK_JOBS:
            raise InvalidInputError(
                "jobs", f"{len(jobs)} at once exceed {MAX_BULK_JOBS}"
            )
        return self._jobs.enqueuer.enqueue_framed(jobs, ids, connection, frame)

    def seal(self, batch_id: str) -> None:
        """Say that a batch has all its jobs, so that it ends with the last one.

        Raises:
            BatchNotFoundError: No batch has this id.
        """
        seal = partial(self._change, name="seal_batch", batch_id=batch_id)
        self.fold(self._settlement.run(seal)[1].noted)

    def _change(
        self,
        transaction: Transaction,
        settled: Settled,
        *,
        name: str,
        batch_id: str,
        **values: Parameter,
    ) -> bool:
        """Change a batch by a statement; have it settled, and say so, if that did."""
        is_changed, counts = transaction.all_in_turn(
            (name, {"id": batch_id, **values}), batch_query(batch_id)
        )
        if not counts:
            raise BatchNotFoundError(batch_id)
        if is_changed:
            self._settlement.count(transaction, changes_of(batch_id), settled)
        return bool(is_changed)

    # -- changing --------------------------------------------------------------------

    def cancel(self, batch_id: str, is_over: IsOver = lambda: False) -> Batch:
        """End the jobs of a batch that wait, and ask those that run to stop.

        The batch takes no more jobs. Its waiting jobs end in steps of 500; if this
        process dies, or ``is_over`` says so before a step, a worker goes on. Does
        nothing if it has ended.

        Raises:
            BatchNotFoundError: No batch has this id.
        """
        cancel = partial(self._change, name="request_batch_cancel", batch_id=batch_id)
        self._settlement.run(cancel, lambda _: 1)
        self._cancel_jobs(batch_id, is_over)
        return self.get(batch_id)

    def _cancel_jobs(self, batch_id: str, is_over: IsOver = lambda: False) -> None:
        """End the jobs of a batch for as long as it is cancelled."""
        for (inner,) in self._database.read_one("batches_to_cancel", id=batch_id):
            change = partial(self._cancel_inner, batch_id=inner, outer=batch_id)
            if not is_over() and self._settlement.run(change, lambda _: 1)[0]:
                self._cancel_jobs(inner, is_over)
        # Jobs that wait for others die with them if they may: a retry then lets them
        # wait again.
        for may_wait in (False, True):
            these = chosen(None, may_be_cancelled=True, may_wait=may_wait)
            self._walk(batch_id, JobAction.CANCEL, "jobs_of_batch", is_over, these)
        self.fold([batch_id])

    def _cancel_inner(
        self, transaction: Transaction, settled: Settled, *, batch_id: str, outer: str
    ) -> bool:
        if not bulk.is_cancelled(transaction, outer):
            return False
        name = "request_batch_cancel"
        return self._change(transaction, settled, name=name, batch_id=batch_id)

    def retry(self, batch_id: str, is_over: IsOver = lambda: False) -> int:
        """Run the dead jobs of a batch again; return how many.

        It stops before a step of 500 once ``is_over`` says so. Jobs that died with one
        of them wait for it again; one that died with a job of another batch stays dead.
        The events that have come do not come again.

        Raises:
            BatchNotFoundError: No batch has this id.
        """
        self.get(batch_id)
        self._database.write(partial(bulk.allow, batch_id=batch_id))
        retried = sum(self.retry(each, is_over) for each in self.within(batch_id))
        retried += self._walk(batch_id, JobAction.RETRY, "dead_of_batch", is_over, {})
        self.fold([batch_id])
        return retried

    def _walk(
        self,
        batch_id: str,
        action: JobAction,
        name: str,
        is_over: IsOver,
        these: Mapping[str, Parameter],
        *,
        state: JobStatus | None = None,
    ) -> int:
        """Act on jobs of a batch in steps; return how many have changed."""
        retries = action is JobAction.RETRY
        changed, last = 0, ""
        while not is_over() and (
            rows := self._database.read_one(
                name, id=batch_id, after=last, limit=BATCH, **these
            )
        ):
            last = rows[-1][0]
            ids = [row[0] for row in rows]
            change = self._admin.change(
                action, ids, status=state, dependents=retries, batch_id=batch_id
            )
            changed += change.changed
        return changed

    def delete(self, batch_id: str, is_over: IsOver = lambda: False) -> None:
        """Delete a batch that has ended, and its jobs.

        Raises:
            BatchNotFoundError: No batch has this id.
            BatchUnfinishedError: Jobs of it are unfinished.
            ConflictError: ``is_over`` said so before all its jobs were deleted.
        """
        # Its end may not be marked yet, and it would stay.
        self.fold([batch_id])
        batch = self.get(batch_id)
        if not batch.has_ended:
            raise BatchUnfinishedError(batch_id, batch.unfinished)
        for inner in self.within(batch_id):
            self.delete(inner, is_over)
        name = "jobs_of_batch"
        for state in FINAL:  # never a job that was retried meanwhile
            these = chosen(state)
            self._walk(batch_id, JobAction.DELETE, name, is_over, these, state=state)
        if self.jobs(batch_id, limit=1):
            if unfinished := self.get(batch_id).unfinished:
                raise BatchUnfinishedError(batch_id, unfinished)
            raise ConflictError(f"batch {batch_id!r} has jobs left; repeat to go on")
        turn = Turn("", batch_id, 0, Fate.DELETED)
        settle = partial(self._settlement.settle, turns=[turn])
        self._settlement.run(settle, lambda _: 1)

    # -- upkeep ----------------------------------------------------------------------

    def fold(self, batch_ids: Iterable[str]) -> set[str]:
        """Fold changes of batches and do what follows; return those to fold again.

        On SQLite nothing is left to be folded.
        """
        left: set[str] = set()
        todo = sorted(set(batch_ids))
        while todo and self._database.backend != "sqlite":
            batch_id = todo.pop()
            is_folded, settled = self._settlement.run(
                partial(self._settlement.fold, batch_id=batch_id)
            )
            if not is_folded:
                left.add(batch_id)
            todo += sorted(settled.noted)
        return left

    def fold_changed(self) -> set[str]:
        """Fold changes that processes have left; return batches to fold again."""
        rows = self._database.read_one("changed_batches", limit=TENDED_AT_ONCE)
        return self.fold(row[0] for row in rows)

    def tend(
        self,
        open_s: float = OPEN_S,
        *,
        after: tuple[int, str] = FROM_THE_OLDEST,
        is_over: IsOver = lambda: False,
    ) -> tuple[int, str]:
        """Go on with what processes have left: the upkeep of every worker.

        Folds changes, cancels open batches whose producer has added nothing for
        ``open_s`` seconds, and ends the jobs of cancelled batches: of 100 behind
        ``after``, a creation and an id, until ``is_over``. Returns where to go on.
        """
        self.fold_changed()
        age_us = int(open_s * SECOND_US)
        rows = self._database.read_one(
            "open_batches_to_tend",
            age_us=age_us,
            at=after[0],
            after=after[1],
            limit=TENDED_AT_ONCE,
        )
        cancel = partial(self._change, name="cancel_left_batch", age_us=age_us)
        for created_us, batch_id, is_sealed in rows:
            if is_over():
                return after
            left = partial(cancel, batch_id=batch_id)
            if is_sealed or self._settlement.run(left)[0]:
                self._cancel_jobs(batch_id, is_over)
            after = created_us, batch_id
        return after if len(rows) == TENDED_AT_ONCE else FROM_THE_OLDEST
