"""Batches in application code: the block that makes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.ids import lifted
from flask_forge_jobs.model.batches import BatchEvent, NewBatch
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.jobs import MAX_BULK_JOBS, EnqueueResult, NewJob
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.tasks.batches import BatchCounts, BatchHandle, BatchHome
from flask_forge_jobs.tasks.handles import JobHandle
from flask_forge_jobs.tasks.options import batch_job, batch_jobs, check_id, follow_up_of
from flask_forge_jobs.tasks.other_words import OPTIONS_OF_BATCHES, names_its_options

if TYPE_CHECKING:
    from flask_forge_jobs.tasks.options import FollowUpTask, HasId


class BatchBlock:
    """The jobs of a new batch, collected within a ``with`` block.

    Up to 10,000 jobs are stored together with the batch at the end of the block, and
    nothing is stored if it raises. More are stored 10,000 at a time, into a batch that
    is cancelled if the block raises.

    Attributes:
        id: The id of the batch.
    """

    def __init__(
        self,
        home: BatchHome,
        new: NewBatch,
        connection: object | None,
        outer: BatchBlock | None,
    ) -> None:
        self._home = home
        self._outer = outer
        self._storage = home.storage
        (self.id,) = self._storage.mint(1)
        if new.within is not None:
            (self.id,) = lifted([self.id], new.within)
        self._new = new.with_id(self.id)
        self._connection = connection
        self._is_created = self._is_entered = False
        self._jobs: list[NewJob] = []
        self._handles: list[JobHandle] = []

    def __repr__(self) -> str:
        return f"<BatchBlock {self.id}>"

    def __enter__(self) -> Self:
        self._is_entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, trace
        self._is_entered = False
        if error is None:
            self._store(is_last=True)
        elif self._is_created:
            self._storage.batches.cancel(self.id)

    @property
    def counts(self) -> BatchCounts:
        """The counts of the batch, once the block has ended."""
        return BatchHandle(self._home, self.id).counts

    def add(self, job: NewJob) -> JobHandle:
        """Add a job, as ``task.job(…)`` returns it.

        The handle may be passed to ``after=`` of other jobs. If an unfinished job holds
        the dedupe key of this one, the batch does not count it, and the handle is on
        that job once the block has ended.

        Raises:
            RuntimeError: The block has ended, or has not begun.
        """
        if not self._is_entered:
            raise RuntimeError(
                "jobs are added within the `with` block, whose end stores them; until "
                "the batch has ended, forge.batch_of(id).add(job) adds further ones"
            )
        if len(self._jobs) == MAX_BULK_JOBS:
            self._store(is_last=False)
        job = self._home.prepared(batch_job(job))
        (job_id,) = self._storage.mint(1)
        if job.after:
            (job_id,) = lifted([job_id], job.after[-1])
        handle = JobHandle(self._home, job_id)
        self._jobs.append(job)
        self._handles.append(handle)
        return handle

    def add_many(self, jobs: Iterable[NewJob]) -> list[JobHandle]:
        """Add any number of jobs; see :meth:`add`."""
        return [self.add(job) for job in batch_jobs(jobs)]

    def _open(self) -> None:
        """Store the batch within its own block: another one is stored within it."""
        if not self._is_entered or self._is_created:
            return
        if self._connection is not None:
            raise InvalidInputError(
                "within",
                "with connection= a batch is stored by the end of its block; make "
                "the one within it after that",
            )
        self._store(is_last=False)

    def _store(self, *, is_last: bool) -> None:
        if self._connection is not None and not is_last:
            raise InvalidInputError(
                "jobs", f"more than {MAX_BULK_JOBS} do not go into one transaction"
            )
        ids = [handle.id for handle in self._handles]
        batches = self._storage.batches
        if self._is_created:
            results: Sequence[EnqueueResult] = batches.add(self.id, self._jobs, ids=ids)
            if is_last:
                batches.seal(self.id)
        else:
            if self._outer is not None:
                self._outer._open()  # noqa: SLF001  # of this class
            results = batches.create(
                self._new,
                self._jobs,
                ids=ids,
                is_sealed=is_last,
                connection=self._connection,
            ).results
            self._is_created = True
        for handle, result in zip(self._handles, results, strict=True):
            handle.become(result)
        self._jobs, self._handles = [], []
        self._home.added(results, self.id, may_run=self._connection is None)


class Batching:
    """The methods of :class:`.ForgeJobs` for batches."""

    _batch_home: Callable[[], BatchHome]

    @names_its_options(OPTIONS_OF_BATCHES)
    def batch(
        self,
        name: str = "batch",
        *,
        on_success: FollowUpTask | None = None,
        on_finished: FollowUpTask | None = None,
        on_dead: FollowUpTask | None = None,
        data: object = None,
        cancel_on_dead: bool = False,
        within: HasId | str | None = None,
        connection: object | None = None,
    ) -> BatchBlock:
        """Make a batch: jobs that are counted together, and tasks that hear of the end.

        For example::

            with forge.batch("report 7", on_success=send_report) as batch:
                parts = [batch.add(render.job(part=n)) for n in range(50)]
                batch.add(index.options(after=parts[:2]).job())

        Each of the three tasks takes an :class:`EndedBatch` as its one argument, and
        its job is stored once, in the transaction that notices the event.

        Args:
            name: Shown to operators, up to 255 characters.
            on_success: Once all jobs have ended and none is dead, also after dead ones
                were retried.
            on_finished: Once all jobs have ended for the first time.
            on_dead: Once a first job is dead.
            data: Any JSON value for these tasks, at most 64 KiB.
            cancel_on_dead: Cancel the rest once a job is dead; default False.
            within: A batch that counts this one, and these tasks' jobs, as its own. One
                whose block has not ended is stored with its jobs so far, and is
                cancelled if the block raises.
            connection: Store all in this connection's transaction; see
                :class:`.EnqueueOptions`.

        Raises:
            InvalidInputError: A value is out of bounds, or a task does not take one
                argument.
        """
        tasks = {
            BatchEvent.DEAD: on_dead,
            BatchEvent.FINISHED: on_finished,
            BatchEvent.SUCCESS: on_success,
        }
        outer: Any = within
        given: object = name
        if not isinstance(given, str):
            advice = OPTIONS_OF_BATCHES["jobs"]
            raise InvalidInputError("name", f"{shown(given)} is not text; {advice}")
        new = NewBatch(
            name,
            dump(data, "data"),
            {e: follow_up_of(e, task) for e, task in tasks.items() if task is not None},
            cancel_on_dead=cancel_on_dead,
            within=getattr(outer, "id", outer),
        )
        return BatchBlock(
            self._batch_home(),
            new,
            connection,
            within if isinstance(within, BatchBlock) else None,
        )

    def batch_of(self, batch_id: str) -> BatchHandle:
        """Return a handle on a batch of the current application, without reading it."""
        check_id("batch", batch_id)
        return BatchHandle(self._batch_home(), batch_id)
