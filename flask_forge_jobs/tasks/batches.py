"""The handle on a batch in application code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flask_forge_jobs.model.batches import Batch, BatchState
from flask_forge_jobs.model.bounds import check_seconds
from flask_forge_jobs.model.jobs import MAX_BULK_JOBS, EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.tasks.handles import HandleStorage, JobHandle
from flask_forge_jobs.tasks.options import batch_job, batch_jobs
from flask_forge_jobs.tasks.other_words import OF_BATCHES, teach

if TYPE_CHECKING:
    from flask_forge_jobs.model.links import LinkEnd
    from flask_forge_jobs.model.ties import Parent

_PAGE = 1000


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
        return self.add_many([batch_job(job)])[0]

    def add_many(self, jobs: Iterable[NewJob]) -> list[JobHandle]:
        """Add any number of jobs, 10,000 in each transaction; see :meth:`add`."""
        handles: list[JobHandle] = []
        chosen: list[NewJob] = []
        for job in batch_jobs(jobs):
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
