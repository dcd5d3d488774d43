"""Batches in application code: the block that makes one, and the handle on one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.ids import lifted
from flask_forge_jobs.model.batches import Batch, BatchEvent, BatchState, NewBatch
from flask_forge_jobs.model.bounds import check_seconds, shown
from flask_forge_jobs.model.jobs import MAX_BULK_JOBS, EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.payloads import dump, load_text
from flask_forge_jobs.tasks.handles import HandleStorage, JobHandle
from flask_forge_jobs.tasks.options import check_id, follow_up_of, not_a_job, several
from flask_forge_jobs.tasks.other_words import (
    OF_BATCHES,
    OPTIONS_OF_BATCHES,
    names_its_options,
    teach,
)

if TYPE_CHECKING:
    from flask_forge_jobs.model.links import LinkEnd
    from flask_forge_jobs.model.ties import Parent
    from flask_forge_jobs.tasks.options import FollowUpTask, HasId

_PAGE = 1000


def _checked(jobs: object) -> Iterator[NewJob]:
    """Yield jobs; an error names the place of anything else."""
    given = several("jobs", jobs, "batch.add_many([task.job(...), ...])")
    for number, job in enumerate(given):
        yield _checked_job(job, f"jobs[{number}]")


def _checked_job(job: object, field: str = "job") -> NewJob:
    if not isinstance(job, NewJob):
        raise not_a_job(field, job)
    return job


class BatchHome(HandleStorage, Protocol):
    """The application of a batch."""

    @property
    def batch_open_s(self) -> float:
        """How long a batch stays open to which nothing is added."""

    def prepared(self, job: NewJob) -> NewJob:
        """Return a job with a queue, and with the context that it carries."""

    def added(
        self, results: Sequence[EnqueueResult], batch_id: str, *, may_run: bool
    ) -> None:
        """Called once jobs of a batch are stored; may run them in inline mode."""


class BatchCounts(NamedTuple):
    """How many jobs a batch has, and how many of them wait, run and have ended.

    The rest of ``total`` was deleted before it had ended.
    """

    total: int
    waiting: int
    running: int
    done: int
    dead: int


class ParentJob(NamedTuple):
    """A job that the running one has waited for, as :attr:`TaskContext.parents` has it.

    Attributes:
        id: Its id.
        kind: Its kind; None of a batch.
        status: ``done``, ``dead``, ``deleted``, or ``released`` if an operator did not
            want to wait for it.
        result: Its result; of a batch a dict of its counts.
        error: Its last error if it is dead, or None.
    """

    id: str
    kind: str | None
    status: LinkEnd | None
    result: Any
    error: str | None

    @classmethod
    def of(cls, parent: Parent) -> ParentJob:
        """Return a parent as it was read."""
        result = None if parent.result is None else load_text(parent.result)
        return cls(parent.id, parent.kind, parent.ended, result, parent.error)


class BatchHandle:
    """A batch, as ``forge.batch_of(id)`` and ``context.batch`` return it.

    Every attribute but ``id`` reads the batch's row, whatever its size, and raises
    :class:`.BatchNotFoundError` if there is none.

    Attributes:
        id: The batch's id.
    """

    __slots__ = ("_home", "id")

    def __init__(self, home: BatchHome, batch_id: str) -> None:
        self._home = home
        self.id = batch_id

    def __repr__(self) -> str:
        return f"<BatchHandle {self.id}>"

    def _read(self) -> Batch:
        return self._home.storage.batches.get(self.id)

    @property
    def name(self) -> str:
        """Its name."""
        return self._read().name

    @property
    def data(self) -> Any:
        """Its data, after a round trip through JSON."""
        return load_text(self._read().data)

    @property
    def counts(self) -> BatchCounts:
        """Its counts."""
        batch = self._read()
        return BatchCounts(
            batch.total, batch.waiting, batch.running, batch.done, batch.dead
        )

    @property
    def state(self) -> BatchState:
        """``open``, ``running``, ``cancelling``, ``done`` or ``dead``."""
        return self._read().state

    def add(self, job: NewJob) -> JobHandle:
        """Add a job, as ``task.job(…)`` returns it.

        A job adds to its own batch with ``context.batch.add(…)``: that is open for as
        long as the job runs.

        Raises:
            BatchEndedError: The batch has ended or is cancelled.
        """
        return self.add_many([_checked_job(job)])[0]

    def add_many(self, jobs: Iterable[NewJob]) -> list[JobHandle]:
        """Add any number of jobs, 10,000 in each transaction; see :meth:`add`."""
        handles: list[JobHandle] = []
        chosen: list[NewJob] = []
        for job in _checked(jobs):
            chosen.append(self._home.prepared(job))
            if len(chosen) == MAX_BULK_JOBS:
                handles += self._add(chosen)
                chosen = []
        return handles + self._add(chosen) if chosen else handles

    def _add(self, jobs: Sequence[NewJob]) -> list[JobHandle]:
        results = self._home.storage.batches.add(self.id, jobs)
        self._home.added(results, self.id, may_run=True)
        return [JobHandle(self._home, each.id, each) for each in results]

    def jobs(self, status: JobStatus | str | None = None) -> list[JobHandle]:
        """Return its jobs in the order of their ids, or those in one state."""
        chosen = None if status is None else JobStatus.parse(status, "status")
        handles: list[JobHandle] = []
        last = ""
        while rows := self._home.storage.batches.jobs(
            self.id, status=chosen, after=last, limit=_PAGE
        ):
            handles += [JobHandle(self._home, row.id) for row in rows]
            last = rows[-1].id
        return handles

    def results(self) -> list[Any]:
        """Return the results of its jobs that are done, in the order of their ids."""
        values: list[Any] = []
        last = ""
        while rows := self._home.storage.batches.results(
            self.id, after=last, limit=_PAGE
        ):
            values += [None if text is None else load_text(text) for _, text in rows]
            last = rows[-1][0]
        return values

    def wait(self, timeout_s: float) -> bool:
        """Wait until all its jobs have ended; return whether they have.

        Args:
            timeout_s: Most seconds to wait; 0 only checks.

        Raises:
            InvalidInputError: ``timeout_s`` is not a number of seconds.
        """
        check_seconds("timeout_s", timeout_s, 0, math.inf)
        ends = self._home.storage.jobs.ends
        return ends.wait(self.id, lambda: self._read().has_ended, timeout_s)

    def cancel(self) -> None:
        """End its waiting jobs, and ask those that run to stop.

        It takes no more jobs. Does nothing if it has ended.
        """
        self._home.storage.batches.cancel(self.id)

    def retry(self) -> int:
        """Run its dead jobs again, with all their attempts; return how many.

        Jobs that died with one of them wait for it again. The jobs at its events are
        not stored a second time.
        """
        return self._home.storage.batches.retry(self.id)


teach(BatchHandle, OF_BATCHES)


class BatchBlock:
    """The jobs of a new batch, collected within a ``with`` block.

    Up to 10,000 jobs are stored together with the batch at the end of the block, and
    nothing is stored if it raises. More are stored 10,000 at a time, into a batch that
    is cancelled if the block raises.

    Attributes:
        id: The id of the batch.
    """

    def __init__(
        self, home: BatchHome, new: NewBatch, connection: object | None
    ) -> None:
        self._home = home
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
        job = self._home.prepared(_checked_job(job))
        (job_id,) = self._storage.mint(1)
        if job.after:
            (job_id,) = lifted([job_id], job.after[-1])
        handle = JobHandle(self._home, job_id)
        self._jobs.append(job)
        self._handles.append(handle)
        return handle

    def add_many(self, jobs: Iterable[NewJob]) -> list[JobHandle]:
        """Add any number of jobs; see :meth:`add`."""
        return [self.add(job) for job in _checked(jobs)]

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
            within: A batch that counts this one, and these tasks' jobs, as its own.
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
        return BatchBlock(self._batch_home(), new, connection)

    def batch_of(self, batch_id: str) -> BatchHandle:
        """Return a handle on a batch of the current application, without reading it."""
        check_id("batch", batch_id)
        return BatchHandle(self._batch_home(), batch_id)
