"""Stores each job exactly once, even if the answer to a commit is lost.

The id is minted before the first attempt and reused by every further one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from flask_forge_jobs.errors import (
    InvalidInputError,
    JobNotFoundError,
    StorageBusyError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.ids import UlidGenerator, lifted
from flask_forge_jobs.model.bounds import DEFAULT_QUEUE
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.columns import new_parameters
from flask_forge_jobs.storage.database import Transaction, encode_names, encode_rows
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.addition import Addition, Ties, is_plain
from flask_forge_jobs.storage.jobs.admission import tightened
from flask_forge_jobs.storage.jobs.holders import new_result
from flask_forge_jobs.storage.jobs.known_queues import KnownQueues
from flask_forge_jobs.storage.jobs.request_keys import once
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.ties.settlement import Settled, Settlement
from flask_forge_jobs.storage.uncommitted import Uncommitted

# So many at most go as JSON in one statement; COPY takes more of them in less time.
FEW_JOBS = 50
FEW_CHARACTERS = 256 * 1024
Work = Callable[[Transaction], list[EnqueueResult]]
"""Stores jobs in a transaction."""


def _nothing(_transaction: Transaction, _settled: Settled) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a transaction does before and after it stores new jobs.

    With ``key`` it does all this once. The key remembers only results, so that of
    ``whole``, an id for all together, then comes first. ``batch_id`` is the batch of
    the jobs.
    """

    before: Callable[[Transaction, Settled], object] = _nothing
    after: Callable[[Transaction, Settled], object] = _nothing
    key: RequestKey | None = None
    whole: str | None = None
    max_waiting: int | None = None
    batch_id: str | None = None

    def once(self, work: Work) -> Work:
        """Return work that is done once."""
        whole = [] if self.whole is None else [_result_of(self.whole)]
        return lambda transaction: once(
            transaction, (), self.key, lambda: [*whole, *work(transaction)]
        )


def _result_of(whole: str) -> EnqueueResult:
    """Return a result that counts as no new job."""
    return EnqueueResult(
        whole,
        is_deduped=True,
        queue_name="",
        kind="",
        status=JobStatus.PENDING,
        scheduled_at_us=0,
    )


NO_FRAME = Frame()


class Enqueuer:
    """Stores new jobs."""

    def __init__(
        self,
        database: StoreExecutor,
        ids: UlidGenerator,
        queues: KnownQueues,
        *,
        settlement: Settlement,
        recorder: Recorder,
        uncommitted: Uncommitted | None = None,
    ) -> None:
        self._database = database
        self._new_ids = database.pinned(ids.new_many)
        # What adds a job of which no other process can know yet, and one that starts at
        # once.
        has_early = database.backend == "postgres"
        self._enqueue_new = "enqueue_early" if has_early else "enqueue"
        self._enqueue_now = "enqueue_early" if has_early else "enqueue_now"
        self._queues = queues
        self._settlement = settlement
        self._recorder = recorder
        self._uncommitted = uncommitted

    def enqueue(
        self, job: NewJob, max_waiting: int | None = None, *, is_target: bool = True
    ) -> EnqueueResult:
        """Store one job; see :meth:`JobQueue.enqueue`.

        ``is_target`` is whether the entry of a request names it.
        """
        if job.after or job.batch_id is not None:
            return self.enqueue_many([job], None, max_waiting)[0]
        job_id = job.job_id or self._new_ids(1)[0]
        is_new = job.job_id is None and job.dedupe_key is None
        queue_name = job.queue_name or DEFAULT_QUEUE
        is_simple = job.dedupe_for is None and max_waiting is None
        is_sent = False
        try:
            open_until = self._queues.open_until.get(queue_name, 0.0)
            if is_simple and open_until > self._queues.clock.monotonic():
                if is_new and is_target:
                    run, name = self._database.insert, self._enqueue_now
                    if job.run_at is not None or job.delay is not None:
                        name = self._enqueue_new
                else:
                    target = job_id if is_target else None
                    run, name = partial(self._database.sole, of=target), "enqueue"
                rows = run(name, **new_parameters(job, job_id))
                is_sent = True
                if rows and (due_us := rows[0][0]) is not None:
                    if (wake := self._database.wake_added) is not None:
                        wake(queue_name)
                    call, enqueued = self._database.when_stored, self._recorder.enqueued
                    call(enqueued, queue_name, job.kind)
                    # new_result() inlined, as above: every enqueue runs this.
                    return EnqueueResult(
                        job_id, False, queue_name, job.kind, JobStatus.PENDING, due_us
                    )
            return self._write([job], [job_id], None, max_waiting)[0]
        except StorageOutcomeUnknownError as error:
            raise StorageOutcomeUnknownError([job_id]) from error.__cause__
        except (StorageUnavailableError, StorageBusyError) as error:
            if not is_sent:
                raise
            # The conflict may be with this very job: a try whose answer was lost.
            raise StorageOutcomeUnknownError([job_id]) from error

    def enqueue_many(
        self,
        jobs: Sequence[NewJob],
        key: RequestKey | None = None,
        max_waiting: int | None = None,
    ) -> list[EnqueueResult]:
        """Store jobs, all or none; see :meth:`JobQueue.enqueue_many`."""
        if key is None and len(jobs) == 1 and not _is_tied(jobs[0]):
            return [self.enqueue(jobs[0], max_waiting, is_target=False)]
        ids = self._ids_of(jobs)
        if key is None and max_waiting is None and self._is_one_statement(jobs):
            return self._enqueue_few(jobs, ids)
        return self._write(jobs, ids, key, max_waiting)

    def _is_one_statement(self, jobs: Sequence[NewJob]) -> bool:
        """Whether one statement stores jobs, where others would take several trips."""
        if not 0 < len(jobs) <= FEW_JOBS or self._database.backend == "sqlite":
            return False
        now_s, open_until = self._queues.clock.monotonic(), self._queues.open_until
        size = 0
        for job in jobs:
            is_open = open_until.get(job.queue, 0.0) > now_s
            if _is_tied(job) or not is_plain(job) or not is_open:
                return False
            size += len(job.payload)
        return size <= FEW_CHARACTERS

    def _enqueue_few(
        self, jobs: Sequence[NewJob], ids: Sequence[str]
    ) -> list[EnqueueResult]:
        pairs = list(zip(jobs, ids, strict=True))
        rows = encode_rows(new_parameters(*pair) for pair in pairs)
        send = partial(self._database.sole, "enqueue_few", rows=rows)
        is_sent = False
        try:
            # Nothing comes back while a try whose answer was lost is not over.
            stored = send()
            is_sent = True
            due_us = {row[0]: int(row[1]) for row in stored or send()}
        except StorageOutcomeUnknownError as error:
            raise StorageOutcomeUnknownError(ids) from error.__cause__
        except (StorageUnavailableError, StorageBusyError) as error:
            if not is_sent:
                raise
            raise StorageOutcomeUnknownError(ids) from error
        if len(due_us) < len(ids):
            raise StorageOutcomeUnknownError(ids)
        for queue_name in {job.queue for job in jobs}:
            self._database.wake(queue_name)
        results = [new_result(job, id_, due_us[id_], set()) for job, id_ in pairs]
        self._count(results)
        return results

    def enqueue_framed(
        self,
        jobs: Sequence[NewJob],
        ids: Sequence[str] | None,
        connection: object | None,
        frame: Frame,
    ) -> list[EnqueueResult]:
        """Store jobs and what goes with them in one transaction.

        ``ids`` are minted for them, ascending.
        """
        ids = self._ids_of(jobs) if ids is None else ids
        if connection is None:
            return self._write(jobs, ids, None, frame.max_waiting, frame)
        return self._write_within(connection, jobs, ids, None, frame)

    def _write(
        self,
        jobs: Sequence[NewJob],
        ids: Sequence[str],
        key: RequestKey | None,
        max_waiting: int | None,
        frame: Frame = NO_FRAME,
    ) -> list[EnqueueResult]:
        names = sorted({job.queue for job in jobs})
        queues = self._queues.look_up(self._database, names)
        bounds = tightened(queues.bounds, names, max_waiting)
        if jobs and all(job.schedule_name is not None for job in jobs):
            bounds = {}  # a trigger comes in as a firing does
        ties = Ties(self._settlement, frame.batch_id)

        def work(transaction: Transaction) -> list[EnqueueResult]:
            ties.settled.clear()
            frame.before(transaction, ties.settled)
            results = Addition(
                transaction, jobs, ids, key, queues.created, bounds, ties
            ).store()
            frame.after(transaction, ties.settled)
            return results

        try:
            results = self._database.write(
                work if frame.key is None else frame.once(work)
            )
        except StorageOutcomeUnknownError as error:
            raise StorageOutcomeUnknownError(ids) from error.__cause__
        self._database.when_stored(self._queues.remember, names, queues.bounds)
        ties.after_commit()
        self._count(results)
        return results

    def _count(self, results: Sequence[EnqueueResult]) -> None:
        new = [
            (each.queue_name, each.kind)
            for each in results
            if not each.is_deduped and not each.is_replayed
        ]
        self._database.when_stored(self._recorder.enqueued_many, new)

    def _ids_of(self, jobs: Sequence[NewJob]) -> list[str]:
        minted = self._new_ids(len(jobs))
        parents = [job.after[-1] for job in jobs if job.after]
        if parents:
            minted = above(minted, max(parents))
        return [job.job_id or new for job, new in zip(jobs, minted, strict=True)]

    def enqueue_within(
        self, connection: object, jobs: Sequence[NewJob], key: RequestKey | None = None
    ) -> list[EnqueueResult]:
        """Store jobs in a caller's transaction; see :meth:`JobQueue.enqueue`."""
        return self._write_within(connection, jobs, self._ids_of(jobs), key, NO_FRAME)

    def _write_within(
        self,
        connection: object,
        jobs: Sequence[NewJob],
        ids: Sequence[str],
        key: RequestKey | None,
        frame: Frame,
    ) -> list[EnqueueResult]:
        names = sorted({job.queue for job in jobs})
        self._refuse_unfinished({each for job in jobs for each in job.after} - {*ids})

        def work(transaction: Transaction) -> list[EnqueueResult]:
            # Not remembered as known: the caller may roll the registration back.
            queues = self._queues.look_up_within(transaction, names)
            ties = Ties(self._settlement, frame.batch_id)
            frame.before(transaction, ties.settled)
            results = Addition(
                transaction,
                jobs,
                ids,
                key,
                queues.created,
                queues.bounds,
                ties,
                # A caller's transaction may last long, and no producer waits for it.
                is_exact=False,
            ).store()
            frame.after(transaction, ties.settled)
            return results

        results = self._database.join(connection, work)
        if self._uncommitted is not None:
            self._uncommitted.add(results)
        return results

    def _refuse_unfinished(self, parents: set[str]) -> None:
        """Refuse to wait for jobs and batches that others see as unfinished.

        The caller's transaction would lock them, however long it lasts, and their own
        ends would wait for it.
        """
        if not parents:
            return
        rows = encode_names("parent_id", sorted(parents))
        for (parent_id,) in self._database.read_one("unfinished_parents", rows=rows):
            raise InvalidInputError(
                "after",
                f"{parent_id} is unfinished and not of this transaction, which would "
                "keep it from ending; enqueue without the connection, once it has "
                "committed",
            )


def _is_tied(job: NewJob) -> bool:
    return bool(job.after) or job.batch_id is not None


def above(ids: Sequence[str], parent_id: str) -> list[str]:
    """Return new ids behind that of a job that theirs wait for."""
    try:
        return lifted(ids, parent_id)
    except OverflowError:
        raise JobNotFoundError(parent_id) from None
