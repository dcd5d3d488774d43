"""The jobs that one transaction adds to the queues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from flask_forge_jobs.model.instants import MAX_INSTANT_US
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.columns import new_parameters, new_row, tied_row
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.jobs.admission import admit
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
from flask_forge_jobs.storage.jobs.request_keys import once
from flask_forge_jobs.storage.jobs.tying import Tying
from flask_forge_jobs.storage.ties.settlement import Settled, Settlement


class Ties:
    """The settlement of what new jobs wait for, and what it has done.

    ``batch_id`` is the batch of all of them, if they have one.
    """

    def __init__(self, settlement: Settlement, batch_id: str | None = None) -> None:
        self._settlement = settlement
        self._batch_id = batch_id
        self.settled = Settled()

    def has(self, jobs: Iterable[NewJob]) -> bool:
        """Whether one of the jobs waits for others or has a batch."""
        if self._batch_id is not None:
            return True
        return bool([job for job in jobs if job.after or job.batch_id])

    def begin(self, transaction: Transaction, pairs: Sequence[NewPair]) -> Tying:
        """Lock what jobs need, at each try of a transaction."""
        tying = Tying(
            transaction, pairs, self._settlement, self.settled, self._batch_id
        )
        tying.begin()
        return tying

    def after_commit(self) -> None:
        """Count what was done."""
        self._settlement.after_commit(self.settled)


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
        ties: Stores links and batches, which few jobs have.
        is_exact: Whether producers of a bounded queue wait for one another.
    """

    transaction: Transaction
    jobs: Sequence[NewJob]
    ids: Sequence[str]
    key: RequestKey | None
    created: set[str]
    bounds: Mapping[str, int]
    ties: Ties
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
        pairs = list(zip(self.jobs, self.ids, strict=True))
        if self.ties.has(self.jobs):
            return self._insert_tied(pairs)
        if len(self.jobs) == 1 and self.key is None:
            return [self._insert_one(self.jobs[0], self.ids[0])]
        return self._insert_many(pairs, lambda plain: _append(self.transaction, plain))

    def _insert_tied(self, pairs: list[NewPair]) -> list[EnqueueResult]:
        tying = self.ties.begin(self.transaction, pairs)
        appended: dict[str, int] = {}

        def append(plain: Sequence[NewPair]) -> dict[str, int]:
            appended.update(_append_tied(self.transaction, plain, tying))
            return appended

        results = self._insert_many(pairs, append)
        if len(appended) == len(pairs):
            tying.finish(pairs, results)
            return tying.corrected(results) if tying.ended else results
        # A job may come twice, under one id or one key.
        new = {
            each.id: (pair[0], each)
            for pair, each in zip(pairs, results, strict=True)
            if each.id == pair[1]
            and not each.is_deduped
            and each.id not in tying.stored_before
        }
        careful = {i: e.scheduled_at_us for i, (_, e) in new.items()}
        tying.tie([(new[i][0], i) for i in new if i not in appended], careful)
        tying.finish([(job, job_id) for job_id, (job, _) in new.items()], results)
        return tying.corrected(results)

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

    def _insert_many(
        self,
        pairs: list[NewPair],
        append: Callable[[Sequence[NewPair]], dict[str, int]],
    ) -> list[EnqueueResult]:
        transaction = self.transaction
        for queue_name in {job.queue for job in self.jobs}:
            transaction.wake(queue_name)
        plain, careful = _sort_out(pairs, is_repeated=transaction.attempt > 0)
        due = append(plain) if plain else {}
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
    plain = [pair for pair in pairs if not is_repeated and is_plain(pair[0])]
    if len(plain) == len(pairs):
        return plain, []
    careful = [pair for pair in pairs if is_repeated or not is_plain(pair[0])]
    return plain, in_lock_order(careful)


def is_plain(job: NewJob) -> bool:
    """Return whether a new job can meet no other one, and is none of a schedule."""
    return job.dedupe_key is None and job.schedule_name is None and job.job_id is None


def _append(
    transaction: Transaction, pairs: Sequence[tuple[NewJob, str]]
) -> dict[str, int]:
    """Store plain jobs; return when each is due."""
    now_us = int(transaction.all("now")[0][0])
    due_us = {job_id: _due_us(job, now_us) for job, job_id in pairs}
    transaction.copy_rows(
        "append_jobs", (new_row(job, id_, due_us[id_], now_us) for job, id_ in pairs)
    )
    return due_us


def _append_tied(
    transaction: Transaction, pairs: Sequence[NewPair], tying: Tying
) -> dict[str, int]:
    """Store jobs that wait for others or have a batch; return when each is due."""
    now_us = int(transaction.all("now")[0][0])
    due_us = {job_id: _due_us(job, now_us) for job, job_id in pairs}
    batch_id, awaited = tying.batch_id, tying.awaited
    transaction.copy_rows(
        "append_tied_jobs",
        (
            tied_row(job, id_, due_us[id_], now_us, batch_id, is_awaited=id_ in awaited)
            for job, id_ in pairs
        ),
    )
    if not tying.ended:  # else some need not wait
        due_us.update((job_id, MAX_INSTANT_US) for job, job_id in pairs if job.after)
    return due_us


def _due_us(job: NewJob, now_us: int) -> int:
    if job.run_at is None and job.delay is None:
        return now_us
    start_us = job.start_us or 0
    return max(start_us, now_us - start_us, now_us)
