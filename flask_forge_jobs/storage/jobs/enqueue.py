"""Stores each job exactly once, even if the answer to a commit is lost.

The id is minted before the first attempt and reused by every further one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask_forge_jobs.errors import StorageOutcomeUnknownError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.columns import new_parameters, new_row
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.admission import admit, tightened
from flask_forge_jobs.storage.jobs.holders import (
    NewPair,
    find,
    may_replace,
    new_result,
    recent,
    replaced,
    take_back,
)
from flask_forge_jobs.storage.jobs.keyed import (
    ROUNDS,
    changes_hands,
    in_lock_order,
    store_keyed,
)
from flask_forge_jobs.storage.jobs.known_queues import KnownQueues
from flask_forge_jobs.storage.jobs.request_keys import once


class Enqueuer:
    """Stores new jobs."""

    def __init__(
        self, database: StoreExecutor, ids: UlidGenerator, queues: KnownQueues
    ) -> None:
        self._database = database
        self._new_ids = database.pinned(ids.new_many)
        self._queues = queues

    def enqueue(self, job: NewJob, most_waiting: int | None = None) -> EnqueueResult:
        """Store one job; see :meth:`JobQueue.enqueue`."""
        job_id = job.job_id or self._new_ids(1)[0]
        is_new = job.job_id is None and job.dedupe_key is None
        queue_name = job.queue_name or DEFAULT_QUEUE
        is_simple = job.dedupe_for is None and most_waiting is None
        try:
            if is_simple and self._queues.is_open(queue_name):
                run = self._database.insert if is_new else self._database.execute
                rows = run("enqueue", **new_parameters(job, job_id))
                due_us = rows[0][0] if rows else None
                if due_us is not None:
                    self._database.wake(queue_name)
                    return new_result(job, job_id, due_us)
            return self._write([job], [job_id], None, most_waiting)[0]
        except StorageOutcomeUnknownError as error:
            raise StorageOutcomeUnknownError([job_id]) from error.__cause__

    def enqueue_many(
        self,
        jobs: Sequence[NewJob],
        key: RequestKey | None = None,
        most_waiting: int | None = None,
    ) -> list[EnqueueResult]:
        """Store jobs, all or none; see :meth:`JobQueue.enqueue_many`."""
        return self._write(jobs, self._ids_of(jobs), key, most_waiting)

    def _write(
        self,
        jobs: Sequence[NewJob],
        ids: Sequence[str],
        key: RequestKey | None,
        most_waiting: int | None,
    ) -> list[EnqueueResult]:
        names = sorted({job.queue for job in jobs})
        queues = self._queues.look_up(self._database, names)
        bounds = tightened(queues.bounds, names, most_waiting)
        if all(job.schedule_name is not None for job in jobs):
            bounds = {}  # a trigger comes in as a firing does
        try:
            results = self._database.write(
                lambda tx: Addition(tx, jobs, ids, key, queues.created, bounds).store()
            )
        except StorageOutcomeUnknownError as error:
            raise StorageOutcomeUnknownError(ids) from error.__cause__
        self._database.when_stored(self._queues.remember, names, queues.bounds)
        return results

    def _ids_of(self, jobs: Sequence[NewJob]) -> list[str]:
        minted = self._new_ids(len(jobs))
        return [job.job_id or new for job, new in zip(jobs, minted, strict=True)]

    def enqueue_within(
        self,
        connection: object,
        jobs: Sequence[NewJob],
        key: RequestKey | None = None,
    ) -> list[EnqueueResult]:
        """Store jobs in a caller's transaction; see :meth:`JobQueue.enqueue`."""
        ids = self._ids_of(jobs)
        names = sorted({job.queue for job in jobs})

        def work(transaction: Transaction) -> list[EnqueueResult]:
            # Not remembered as known: the caller may roll the registration back.
            queues = self._queues.look_up_within(transaction, names)
            return Addition(
                transaction,
                jobs,
                ids,
                key,
                queues.created,
                queues.bounds,
                # A caller's transaction may last long, and no producer waits for it.
                is_exact=False,
            ).store()

        return self._database.join(connection, work)


@dataclass(frozen=True, slots=True)
class Addition:
    """The jobs that one transaction adds to the queues.

    Args:
        transaction: Stores it, all or none.
        jobs: The new jobs.
        ids: Their ids, in the same order.
        key: Makes a repeated call safe.
        created: Queues that were registered for them.
        bounds: How many jobs may wait in a queue; one without takes any number.
        is_exact: Whether producers of a bounded queue wait for one another.
    """

    transaction: Transaction
    jobs: Sequence[NewJob]
    ids: Sequence[str]
    key: RequestKey | None
    created: set[str]
    bounds: Mapping[str, int]
    is_exact: bool = True

    def store(self) -> list[EnqueueResult]:
        """Store the jobs if their queues have room; with a key, only once."""
        return once(self.transaction, self.jobs, self.key, self._admit)

    def _admit(self) -> list[EnqueueResult]:
        return admit(
            self.transaction,
            self.jobs,
            self.ids,
            self.bounds,
            self._insert,
            is_exact=self.is_exact,
        )

    def _insert(self) -> list[EnqueueResult]:
        if len(self.jobs) == 1 and self.key is None:
            return [self._insert_one(self.jobs[0], self.ids[0])]
        return self._insert_many()

    def _insert_one(self, job: NewJob, job_id: str) -> EnqueueResult:
        transaction, values = self.transaction, new_parameters(job, job_id)
        for _ in range(ROUNDS):
            holder = replaced(transaction, job, job_id) if job.replace else None
            if holder is None and job.dedupe_for is not None:
                holder = recent(transaction, job, job_id)
            if holder is not None:
                return holder
            rows = transaction.all("enqueue", **values)
            due_us = rows[0][0] if rows else None
            if due_us is not None:
                # Another job may have come and ended since the look-up; now that our
                # row is in place, no further one can.
                if job.dedupe_for is not None:
                    holder = recent(transaction, job, job_id)
                if holder is not None:
                    take_back(transaction, job_id)
                    return holder
                transaction.wake(job.queue)
                return new_result(job, job_id, due_us, self.created)
            holder = find(transaction, job, job_id)
            if holder is not None and not may_replace(job, holder):
                return holder
        raise changes_hands(job)

    def _insert_many(self) -> list[EnqueueResult]:
        transaction = self.transaction
        pairs = list(zip(self.jobs, self.ids, strict=True))
        for queue_name in {job.queue for job in self.jobs}:
            transaction.wake(queue_name)
        plain, careful = _sort_out(pairs, is_repeated=transaction.attempt > 0)
        due = _append(transaction, plain) if plain else {}
        stored = store_keyed(transaction, careful, self.created) if careful else {}
        return [
            new_result(job, job_id, due[job_id], self.created)
            if job_id in due
            else stored[job_id]
            for job, job_id in pairs
        ]


def _sort_out(
    pairs: list[NewPair], *, is_repeated: bool
) -> tuple[list[NewPair], list[NewPair]]:
    """Return jobs that cannot clash with a row, and those that may by their keys.

    Only a repeated transaction can meet its own id, and only a key another job.
    Schedules are left out of the fast bulk insert.
    """
    plain = [pair for pair in pairs if not is_repeated and _is_plain(pair[0])]
    if len(plain) == len(pairs):
        return plain, []
    careful = [pair for pair in pairs if is_repeated or not _is_plain(pair[0])]
    return plain, in_lock_order(careful)


def _is_plain(job: NewJob) -> bool:
    return job.dedupe_key is None and job.schedule_name is None and job.job_id is None


def _append(
    transaction: Transaction, pairs: Sequence[tuple[NewJob, str]]
) -> dict[str, int]:
    """Store plain jobs; return when each is due."""
    now_us = int(transaction.all("now")[0][0])
    due_us = {job_id: _due_us(job, now_us) for job, job_id in pairs}
    transaction.copy_rows(
        "append_jobs",
        (new_row(job, id_, due_us[id_], now_us) for job, id_ in pairs),
    )
    return due_us


def _due_us(job: NewJob, now_us: int) -> int:
    if job.run_at is None and job.delay is None:
        return now_us
    start_us = job.start_us or 0
    return max(start_us, now_us - start_us, now_us)
