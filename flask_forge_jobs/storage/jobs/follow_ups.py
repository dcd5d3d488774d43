"""Stores the follow-ups of jobs that end without being done.

A worker that ends a run knows the task and its follow-up. A web process that cancels a
job, or a reaper that gives it up, may not know the task, so each worker declares the
follow-ups of its code at start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import EndedJob, FollowUp, FollowUps
from flask_forge_jobs.model.queues import DEFAULT_MAX_QUEUES, DEFAULT_MAX_WORKERS
from flask_forge_jobs.storage.columns import new_row, tied_row
from flask_forge_jobs.storage.database import Transaction, encode_names, encode_rows
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.ties.settlement import EnqueuedKinds

# A batch of large jobs can have hundreds of MB of payloads: more than a server stores
# within the time limit of a transaction, and held several times over by the process.
MAX_AT_ONCE = 8 * 1024 * 1024


class FollowUpStore:
    """Declares and stores follow-up jobs."""

    def __init__(
        self,
        database: StoreExecutor,
        ids: UlidGenerator,
        max_queues: int = DEFAULT_MAX_QUEUES,
    ) -> None:
        self._database = database
        self._ids = ids
        self._max_queues = max_queues

    def declare(self, application: str, declared: Mapping[str, FollowUps]) -> None:
        """Replace an application's declarations, a follow-up per kind and ending."""
        rows = [
            (kind, ending.value, *follow_up)
            for kind, follow_ups in sorted(declared.items())
            for ending, follow_up in sorted(follow_ups.items())
        ]
        columns = ("of_kind", "ending", *FollowUp._fields)

        stored = self._database.read_all("declared_follow_ups", application=application)
        if [tuple(row) for row in stored] == rows:
            return

        def work(transaction: Transaction) -> None:
            transaction.run("forget_follow_ups", application=application)
            named = encode_rows(dict(zip(columns, row, strict=True)) for row in rows)
            transaction.run("declare_follow_ups", application=application, rows=named)

        self._database.write(work)

    def in_pieces(self, ids: Sequence[str]) -> list[list[str]]:
        """Split jobs that may end together, for a transaction each.

        What follows the jobs of one piece has up to :data:`MAX_AT_ONCE` characters of
        their payloads, unless the piece is a single job.
        """
        if len(ids) <= 1:
            return [list(ids)]
        names = encode_names("job_id", ids)
        rows = self._database.read_one("followed_up_sizes", rows=names)
        sizes: dict[str, int] = dict(rows)
        pieces: list[list[str]] = [[]]
        total = 0
        for job_id in ids:
            size = sizes.get(job_id, 0)
            if total + size > MAX_AT_ONCE and total:
                pieces.append([])
                total = 0
            pieces[-1].append(job_id)
            total += size
        return pieces

    def store_declared(
        self, transaction: Transaction, ids: Sequence[str], ending: Ending
    ) -> EnqueuedKinds:
        """Store follow-ups of jobs that end in this transaction; see :meth:`store`."""
        if not ids:
            return ()
        names = encode_names("job_id", ids)
        rows = transaction.all("followed_up", rows=names, ending=ending.value)
        return self.store(
            transaction,
            [
                FollowUp(*row[6:]).job(
                    EndedJob(
                        id=row[0],
                        kind=row[1],
                        queue_name=row[2],
                        arguments=None,
                        attempts=row[4],
                        error=row[5],
                        ending=ending.value,
                    ),
                    row[3],
                )
                for row in rows
            ],
        )

    def store(
        self,
        transaction: Transaction,
        jobs: Sequence[NewJob],
        ids: Sequence[str] | None = None,
    ) -> EnqueuedKinds:
        """Store jobs, whatever their queue's bound, and wake its workers.

        They get new ids unless these are given. Returns queue and kind of each, which
        are counted after the commit.
        """
        if not jobs:
            return ()
        if ids is None:
            ids = self._ids.new_many(len(jobs))
        for queue_name in sorted({job.queue for job in jobs}):
            transaction.defer(
                "ensure_queue",
                name=queue_name,
                max_workers=DEFAULT_MAX_WORKERS,
                max_queues=self._max_queues,
            )
            transaction.wake(queue_name)
        now_us = int(transaction.all("now")[0][0])
        pairs = zip(jobs, ids, strict=True)
        if any(job.batch_id is not None for job in jobs):
            tied = (tied_row(job, i, now_us, now_us) for job, i in pairs)
            transaction.copy_rows("append_tied_jobs", tied)
        else:
            rows = (new_row(job, job_id, now_us, now_us) for job, job_id in pairs)
            transaction.copy_rows("append_jobs", rows)
        return [(job.queue, job.kind) for job in jobs]
