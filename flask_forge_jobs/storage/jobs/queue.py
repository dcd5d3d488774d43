"""JobQueue: the hot path. Enqueue, claim, finish, heartbeat, rescue.

Every change of a running job is fenced by its id, its state, its owner and its claim,
so a worker that lost a job changes nothing, whatever it believes. Outcomes and claims
travel in batches: :meth:`JobQueue.exchange` writes everything that has ended and claims
everything there is room for in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import (
    ClaimedJob,
    Exchange,
    HeartbeatReport,
    RunId,
    RunningJob,
)
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import MAX_BULK_JOBS, EnqueueResult, NewJob
from flask_forge_jobs.model.outcomes import JobUpdate
from flask_forge_jobs.model.queues import DEFAULT_MAX_QUEUES
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.database import Executor, Row, Transaction, encode_rows
from flask_forge_jobs.storage.follow_ups import FollowUpStore
from flask_forge_jobs.storage.jobs.ends import JobEnds
from flask_forge_jobs.storage.jobs.enqueue import Enqueuer
from flask_forge_jobs.storage.jobs.finish import Finishing, rescue_jobs
from flask_forge_jobs.storage.recorder import Recorder, Uncommitted
from flask_forge_jobs.storage.rows import claimed_from_row
from flask_forge_jobs.storage.units import when_stored

logger = get_logger(__name__)

RESCUE_BATCH = 200


class JobQueue:
    """The verbs of producers and worker processes.

    Args:
        database: The seam to the database.
        ids: Mints job ids.
        clock: Stamps the error history.
        jitter: Returns a number in [0, 1) that spreads retries.
        recorder: Counts the jobs that are enqueued; None counts nothing.
        uncommitted: Counts those of callers' transactions; None counts none of them.
        most_queues: Most queues that there may be.
    """

    def __init__(
        self,
        database: Executor,
        ids: UlidGenerator,
        clock: Clock,
        jitter: Callable[[], float] | None = None,
        recorder: Recorder | None = None,
        *,
        uncommitted: Uncommitted | None = None,
        most_queues: int = DEFAULT_MAX_QUEUES,
    ) -> None:
        self._database = database
        self._clock = clock
        self._jitter = jitter
        self._recorder = recorder
        self._uncommitted = uncommitted
        self.ends = JobEnds(database)
        self.follow_ups = FollowUpStore(database, ids, recorder, most_queues)
        self._enqueuer = Enqueuer(database, ids, clock, most_queues)
        self.known_queues = self._enqueuer.queues

    # -- producing -----------------------------------------------------------------

    def enqueue(
        self,
        job: NewJob,
        key: RequestKey | None = None,
        *,
        connection: object | None = None,
        most_waiting: int | None = None,
    ) -> EnqueueResult:
        """Store one job and wake a worker; one statement and one commit.

        A queue that is not registered yet is registered with the defaults.

        Args:
            job: What to store.
            key: Makes it safe to ask again; see :meth:`enqueue_many`.
            connection: Store it in this connection's transaction, so that it comes
                with the caller's commit and goes with a rollback. A psycopg2 or sqlite3
                connection to the same database, or SQLAlchemy's connection or session
                on one.
            most_waiting: Refuse the job when so many wait in its queue, however many
                the queue itself takes; not used with a connection.

        Returns:
            The new job, or the unfinished one that holds its dedupe key.

        Raises:
            InvalidInputError: The connection is of another driver or to another
                database, closed, or in autocommit mode without a transaction.
            DuplicateJobError: The key is held by a job of another kind.
            RequestKeyReusedError: The request key was used for something else.
            QueueFullError: As many jobs wait in the queue as may.
            StorageOutcomeUnknownError: The job may be stored; the error has its id.
            StorageError: The job was not stored.
        """
        if key is not None or connection is not None:
            return self.enqueue_many(
                [job], key, connection=connection, most_waiting=most_waiting
            )[0]
        result = self._enqueuer.enqueue(job, most_waiting)
        if self._recorder is not None and not result.is_deduped:
            when_stored(self._recorder.enqueued, result.queue_name, job.kind)
        return result

    def enqueue_many(
        self,
        jobs: Sequence[NewJob],
        key: RequestKey | None = None,
        *,
        connection: object | None = None,
        most_waiting: int | None = None,
    ) -> list[EnqueueResult]:
        """Store up to 10,000 jobs, all or none, and wake each queue once.

        Of several jobs with one dedupe key only the first is stored.

        Args:
            jobs: What to store; ids are minted in this order.
            key: For a day, asking for the same with the same key stores nothing and
                returns what the first call returned, marked as replayed.
            connection: See :meth:`enqueue`.
            most_waiting: See :meth:`enqueue`.

        Returns:
            One result for each job, in order.

        Raises:
            InvalidInputError: More than 10,000 jobs, or a connection that cannot be
                joined.
            DuplicateJobError: A key is held by a job of another kind.
            RequestKeyReusedError: The request key was used for something else.
            QueueFullError: One of the queues has no room for its jobs.
            StorageOutcomeUnknownError: All may be stored; the error has their ids.
            StorageError: Nothing was stored.
        """
        if len(jobs) > MAX_BULK_JOBS:
            raise InvalidInputError(
                "jobs", f"{len(jobs)} at once exceed {MAX_BULK_JOBS}"
            )
        if not jobs:
            return []
        if connection is not None:
            results = self._enqueuer.enqueue_within(connection, jobs, key)
            if self._uncommitted is not None:
                self._uncommitted.add(results)
            return results
        results = self._enqueuer.enqueue_many(jobs, key, most_waiting)
        if self._recorder is not None:
            new = [
                (each.queue_name, each.kind)
                for each in results
                if not each.is_deduped and not each.is_replayed
            ]
            when_stored(self._recorder.enqueued_many, new)
        return results

    # -- claiming and finishing ----------------------------------------------------

    def claim(self, queue_name: str, owner: str, limit: int = 1) -> list[ClaimedJob]:
        """Claim the next due jobs of a queue.

        The attempt is counted at the claim, not at the failure.

        Args:
            queue_name: Queue to take from; nothing comes while it is paused or cooling
                down. One without settings is never gated.
            owner: Recorded on the jobs; only it may finish them. Never reused.
            limit: At most this many.

        Returns:
            The jobs by priority, due time and id; empty when nothing is due.
        """
        return self.exchange(owner, (), {queue_name: limit}).claimed

    def claim_one(self, job_id: str, owner: str) -> ClaimedJob | None:
        """Claim a certain job, by the rules of :meth:`claim`.

        Args:
            job_id: The job.
            owner: Recorded on the job.

        Returns:
            None when it is not due, not waiting, or its queue hands out nothing.
        """

        def work(transaction: Transaction) -> ClaimedJob | None:
            rows = transaction.all("claim_one", id=job_id, owner=owner)
            return claimed_from_row(rows[0]) if rows else None

        return self._database.write(work)

    def finish(self, owner: str, updates: Sequence[JobUpdate]) -> list[str]:
        """Write how runs ended.

        Args:
            owner: Who claimed the jobs.
            updates: At most one for each job.

        Returns:
            Ids that were refused because the owner no longer holds that claim.
        """
        return self.exchange(owner, updates, {}).refused

    def exchange(
        self,
        owner: str,
        updates: Sequence[JobUpdate],
        demand: Mapping[str, int],
        *,
        promote: bool = True,
    ) -> Exchange:
        """Write outcomes and claim new jobs in one transaction.

        Args:
            owner: Who claimed the jobs that end and will own the new ones.
            updates: At most one for each job.
            demand: How many jobs to claim at most from each queue, in this order.
            promote: Look first for jobs whose time has come; False leaves them waiting
                for a caller that knows when the next one is due.

        Returns:
            The claimed jobs, and the ids of outcomes that were refused.
        """
        if not updates and len(demand) == 1 and not promote:
            return self._claim_only(owner, *next(iter(demand.items())))

        def work(transaction: Transaction) -> Exchange:
            exchange = Exchange()
            if updates:
                finishing = Finishing(
                    transaction, owner, self._clock.now_us(), self.follow_ups
                )
                refused = finishing.write(updates)
                exchange.refused.extend(refused)
                exchange.followed.extend(finishing.followed)
                for answer in self.ends.answers(updates, refused):
                    transaction.wake(answer)
            for queue_name, limit in demand.items():
                if promote:
                    transaction.defer("promote", queue_name=queue_name)
                rows = transaction.all(
                    "claim", queue_name=queue_name, owner=owner, limit=limit
                )
                exchange.claimed.extend(_in_claim_order(rows))
            return exchange

        exchange = self._database.write(work)
        if exchange.followed:
            self.follow_ups.count(exchange.followed)
        return exchange

    def _claim_only(self, owner: str, queue_name: str, limit: int) -> Exchange:
        """Take the short way of an idle worker: one statement, one round trip."""
        rows = self._database.execute(
            "claim", queue_name=queue_name, owner=owner, limit=limit
        )
        return Exchange(claimed=_in_claim_order(rows))

    # -- staying alive -------------------------------------------------------------

    def heartbeat(self, owner: str, progress: Mapping[str, str]) -> HeartbeatReport:
        """Renew every running job of an owner with one statement.

        Args:
            owner: The worker process.
            progress: Job id to canonical JSON text, for the jobs that reported some.

        Returns:
            Which runs the owner still holds, and which of them a user wants stopped.
        """

        def work(transaction: Transaction) -> HeartbeatReport:
            # Locks all of them in the order of their ids.
            rows_found = transaction.all("heartbeat", owner=owner)
            # Only of those that are locked by now: another one may be ours since, and
            # waiting for it would be out of the order.
            locked = {row[0] for row in rows_found}
            rows = [
                {"job_id": job_id, "new_progress": text}
                for job_id, text in progress.items()
                if job_id in locked
            ]
            if rows:
                transaction.defer("set_progress", owner=owner, rows=encode_rows(rows))
            return HeartbeatReport(
                owned=frozenset(RunId(*row[:2]) for row in rows_found),
                cancelled=frozenset(
                    job_id for job_id, _, asked_at in rows_found if asked_at is not None
                ),
            )

        return self._database.write(work, urgent=True)

    def held(self, owner: str) -> list[ClaimedJob]:
        """Return every job that an owner has claimed and not ended."""
        rows = self._database.read(lambda tx: tx.all("held", owner=owner))
        return [claimed_from_row(row) for row in rows]

    def cancelled(self, owner: str) -> list[str]:
        """Return the ids of an owner's running jobs that a user wants stopped."""
        rows = self._database.read(lambda tx: tx.all("cancelled", owner=owner))
        return [job_id for (job_id,) in rows]

    def running(self) -> list[RunningJob]:
        """Return every running job of every owner with its heartbeat counter."""
        rows = self._database.read(lambda transaction: transaction.all("running"))
        return [RunningJob._make(row) for row in rows]

    def rescue(self, observed: Iterable[RunningJob]) -> int:
        """Give back jobs whose owner has fallen silent.

        A job goes to ``failed`` with its queue's failure delay, or to ``dead`` when its
        attempts are used up, when a user wanted it stopped, or when it is the third
        time that its process died (the poison-pill limit).

        Args:
            observed: The jobs as they were seen; one that has changed since is left.

        Returns:
            How many jobs were given back.
        """
        jobs = list(observed)
        return sum(
            self._rescue_batch(jobs[start : start + RESCUE_BATCH])
            for start in range(0, len(jobs), RESCUE_BATCH)
        )

    def _rescue_batch(self, jobs: Sequence[RunningJob]) -> int:
        rescued, followed = self._database.write(
            lambda tx: rescue_jobs(
                tx, jobs, self._clock.now_us(), self._jitter, self.follow_ups
            )
        )
        self.follow_ups.count(followed)
        if self._recorder is not None:
            for queue_name, kind, status in rescued:
                self._recorder.rescued(queue_name, kind, status)
        return len(rescued)

    def next_due_in_s(self, queue_names: Iterable[str]) -> float | None:
        """Return the seconds until the first job that waits for its time is due.

        Args:
            queue_names: Queues to look at.

        Returns:
            Seconds, 0 when one is due already, or None when none waits.
        """

        def work(transaction: Transaction) -> list[int | None]:
            found: list[int | None] = []
            for name in queue_names:
                rows = transaction.all("next_due", queue_name=name)
                found.extend(wait_us for (wait_us,) in rows)
            return found

        waits = [us for us in self._database.read(work) if us is not None]
        return min(waits) / SECOND_US if waits else None


def _in_claim_order(rows: Iterable[Row]) -> list[ClaimedJob]:
    """Return claimed jobs in order; ``RETURNING`` promises none."""
    jobs = [claimed_from_row(row) for row in rows]
    jobs.sort(key=lambda job: (job.priority, job.scheduled_at_us, job.id))
    return jobs
