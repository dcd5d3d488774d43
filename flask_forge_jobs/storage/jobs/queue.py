"""JobQueue, the hot path: enqueue, claim, finish, heartbeat, rescue.

Every outcome is fenced by its job's id, state, worker and claim, so a worker that has
lost a job cannot end it; a rescue is fenced by the last heartbeat that it has seen.
:meth:`JobQueue.exchange` writes a batch of outcomes and claims new jobs for the free
slots, as a rule in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cached_property, partial
from operator import attrgetter

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.claims import (
    ClaimBatch,
    ClaimedJob,
    HeartbeatReport,
    RunId,
    RunningJob,
    in_claim_order,
)
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import MAX_BULK_JOBS, EnqueueResult, NewJob
from flask_forge_jobs.model.masking import KNOWN, Masking
from flask_forge_jobs.model.queues import DEFAULT_MAX_QUEUES
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.model.run_logs import LogChunk
from flask_forge_jobs.model.steps import Checkpoint
from flask_forge_jobs.storage.database import Transaction, encode_rows
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.claim_places import ClaimPlaces
from flask_forge_jobs.storage.jobs.ends import JobEnds
from flask_forge_jobs.storage.jobs.enqueue import Enqueuer
from flask_forge_jobs.storage.jobs.exchange import PlainExchange
from flask_forge_jobs.storage.jobs.failures import Signatures
from flask_forge_jobs.storage.jobs.finish import RunFinisher
from flask_forge_jobs.storage.jobs.follow_ups import FollowUpStore
from flask_forge_jobs.storage.jobs.known_queues import KnownQueues
from flask_forge_jobs.storage.jobs.logs import append_lines
from flask_forge_jobs.storage.jobs.rescue import Rescuer
from flask_forge_jobs.storage.jobs.steps import save_checkpoints
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.ties.settlement import Settled, Settlement
from flask_forge_jobs.storage.uncommitted import Uncommitted

# Read for every outcome, so without a function of our own.
_ERROR = attrgetter("error")


class JobQueue:
    """The methods of producers and workers for jobs."""

    def __init__(
        self,
        database: StoreExecutor,
        ids: UlidGenerator,
        clock: Clock,
        jitter: Callable[[], float] | None,
        recorder: Recorder,
        *,
        uncommitted: Uncommitted | None = None,
        known_queues: KnownQueues | None = None,
        ends: JobEnds | None = None,
        max_queues: int = DEFAULT_MAX_QUEUES,
        masking: Masking = KNOWN,
        signatures: Signatures | None = None,
    ) -> None:
        self._database, self._clock, self.masking = database, clock, masking
        self._signatures = signatures or Signatures(database, masking.text)
        self.ends = ends or JobEnds(database)
        self._has_trips = database.backend == "postgres"
        self.has_one_writer = not self._has_trips
        """Whether an exchange keeps all other writers out."""
        self._plain = PlainExchange(database, self.ends) if self._has_trips else None
        self.follow_ups = FollowUpStore(database, ids, max_queues)
        self.settlement = Settlement(database, clock, self.follow_ups, recorder)
        self._jitter, self._recorder = jitter, recorder
        self.known_queues = known_queues or KnownQueues(clock, max_queues)
        self.enqueuer = Enqueuer(
            database,
            ids,
            self.known_queues,
            settlement=self.settlement,
            recorder=recorder,
            uncommitted=uncommitted,
        )

    # -- producing -----------------------------------------------------------------

    def enqueue(
        self,
        job: NewJob,
        key: RequestKey | None = None,
        *,
        connection: object | None = None,
        max_waiting: int | None = None,
    ) -> EnqueueResult:
        """Store one job and wake a worker, with one statement and one commit.

        An unknown queue is registered with default settings.

        Args:
            job: The job to store.
            key: Makes a repeated call safe; see :meth:`enqueue_many`.
            connection: Store the job in this connection's transaction: it commits and
                rolls back with the caller's work. A connection of psycopg2, psycopg 3
                or sqlite3 to the same database, or SQLAlchemy's connection or session.
            max_waiting: Refuse the job if this many wait in its queue, even when the
                queue's own limit is higher; ignored with a connection.

        Returns:
            The new job, or the unfinished one that holds its dedupe key.

        Raises:
            InvalidInputError: The connection is of another driver or to another
                database, closed, or in autocommit mode without a transaction.
            DuplicateJobError: A job of another kind holds the key.
            RequestKeyReusedError: The request key was used for something else.
            QueueFullError: The queue is full.
            StorageOutcomeUnknownError: The job may be stored; the error has its id.
            StorageError: The job was not stored.
        """
        if key is not None or connection is not None:
            return self.enqueue_many(
                [job], key, connection=connection, max_waiting=max_waiting
            )[0]
        return self.enqueuer.enqueue(job, max_waiting)

    def enqueue_many(
        self,
        jobs: Sequence[NewJob],
        key: RequestKey | None = None,
        *,
        connection: object | None = None,
        max_waiting: int | None = None,
    ) -> list[EnqueueResult]:
        """Store up to 10,000 jobs, all or none, and wake each queue once.

        Of several jobs with the same dedupe key, only the first is stored.

        Args:
            jobs: The jobs to store; ids are made in this order.
            key: For a day, the same call with the same key stores nothing and returns
                the first call's results, marked as replayed.
            connection: See :meth:`enqueue`.
            max_waiting: See :meth:`enqueue`.

        Returns:
            One result per job, in order.

        Raises:
            InvalidInputError: More than 10,000 jobs, or the connection cannot be used.
            DuplicateJobError: A job of another kind holds a key.
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
            return self.enqueuer.enqueue_within(connection, jobs, key)
        return self.enqueuer.enqueue_many(jobs, key, max_waiting)

    # -- claiming and finishing ---------------------------------------------------

    def claim(
        self, queue_name: str, worker_id: str, limit: int = 1
    ) -> list[ClaimedJob]:
        """Claim the next due jobs of a queue; each claim counts as an attempt.

        Args:
            queue_name: A queue that is paused or cooling down yields nothing; one
                without settings is always open.
            worker_id: Recorded on the jobs; only it may finish them. Never reused.
            limit: Most jobs to claim.

        Returns:
            The jobs by priority, due time and id; empty when nothing is due.
        """
        return self.exchange(worker_id, (), {queue_name: limit}).claimed

    def claim_one(self, job_id: str, worker_id: str) -> ClaimedJob | None:
        """Claim one particular job, by the rules of :meth:`claim`.

        Returns None when it is not waiting or not due, or when its queue is closed.
        """

        def work(transaction: Transaction) -> ClaimedJob | None:
            rows = transaction.all("claim_one", id=job_id, worker_id=worker_id)
            return ClaimedJob._make(rows[0]) if rows else None

        return self._database.write(work)

    def finish(self, worker_id: str, updates: Sequence[JobUpdate]) -> list[str]:
        """Write how runs ended.

        Args:
            worker_id: The worker that claimed the jobs.
            updates: At most one per job.

        Returns:
            Ids refused because the worker no longer holds that claim.
        """
        return self.exchange(worker_id, updates, {}).refused

    def exchange(
        self,
        worker_id: str,
        updates: Sequence[JobUpdate],
        demand: Mapping[str, int],
        *,
        promote: bool = True,
        places: ClaimPlaces | None = None,
    ) -> ClaimBatch:
        """Write outcomes and claim new jobs in one transaction.

        If that holds outcomes back, a second one writes these and claims.

        Args:
            worker_id: Claimed the jobs that end, and claims the new ones.
            updates: At most one per job.
            demand: Most jobs to claim from each queue, in this order.
            promote: First promote jobs that have become due; False leaves them for a
                caller that knows when the next one is due.
            places: Where to begin; without them, at the front of each queue.

        Returns:
            The claimed jobs, and the ids of refused outcomes.
        """
        if any(map(_ERROR, updates)):
            self._signatures.sign(updates)
        noted: AbstractSet[str] = frozenset()
        if self._plain is not None:
            done, updates, noted = self._plain.run(
                worker_id, updates, demand, promote, places
            )
            if done is not None:
                return done
        elif not updates and len(demand) == 1 and not promote:
            return self._claim_only(worker_id, *next(iter(demand.items())))
        work = partial(self._exchange, worker_id, updates, demand, promote=promote)
        batch, settled = self._database.write(work)
        if settled is not None:
            self.settlement.after_commit(settled)
            noted |= settled.noted
        return replace(batch, noted=noted) if noted else batch

    def _exchange(
        self,
        worker_id: str,
        updates: Sequence[JobUpdate],
        demand: Mapping[str, int],
        transaction: Transaction,
        *,
        promote: bool,
    ) -> tuple[ClaimBatch, Settled | None]:
        batch, settled = ClaimBatch(), None
        if updates:
            at_us, mask = self._clock.now_us(), self.masking.text
            finisher = RunFinisher(transaction, worker_id, at_us, self.follow_ups, mask)
            finisher.has_short_statement = not self._has_trips
            refused = finisher.write(updates)
            batch.refused.extend(refused)
            if finisher.turns or finisher.followed:
                settled = Settled(made=[*finisher.followed])
                self.settlement.settle(transaction, finisher.turns, settled)
            for answer in self.ends.answers(updates, refused):
                transaction.wake(answer)
        for queue_name, limit in demand.items():
            if promote:
                transaction.defer("promote", queue_name=queue_name)
            rows = transaction.all(
                "claim", queue_name=queue_name, worker_id=worker_id, limit=limit
            )
            batch.claimed.extend(in_claim_order(rows))
        return batch, settled

    def _claim_only(self, worker_id: str, queue_name: str, limit: int) -> ClaimBatch:
        """Claim for an idle worker: one statement, one round trip."""
        rows = self._database.execute(
            "claim", queue_name=queue_name, worker_id=worker_id, limit=limit
        )
        return ClaimBatch(claimed=in_claim_order(rows))

    # -- staying alive -------------------------------------------------------------

    def heartbeat(
        self,
        worker_id: str,
        progress: Mapping[str, str],
        logged: Sequence[LogChunk] = (),
        saved: Sequence[Checkpoint] = (),
    ) -> HeartbeatReport:
        """Renew every running job of a worker with one statement.

        ``progress`` maps ids of jobs that reported progress to canonical JSON text,
        whose secrets are masked. ``logged`` are lines that its runs have logged,
        ``saved`` the values that they have saved.

        Returns:
            The runs that the worker still holds, and the jobs it is asked to stop.
        """
        # First, because it takes a while, and writers of SQLite wait for one another.
        shown = {key: self.masking.json_text(text) for key, text in progress.items()}

        def work(transaction: Transaction) -> HeartbeatReport:
            # Locks all of them in the order of their ids. Only those get progress: a
            # job claimed since would be locked out of that order.
            running = transaction.all("heartbeat", worker_id=worker_id)
            locked = {row[0] for row in running}
            rows = [
                {"job_id": job_id, "new_progress": text}
                for job_id, text in shown.items()
                if job_id in locked
            ]
            if rows:
                transaction.defer("set_progress", rows=encode_rows(rows))
            owned = frozenset(RunId(*row[:2]) for row in running)
            if logged:
                append_lines(transaction, (e for e in logged if e.run in owned))
            if saved:
                save_checkpoints(transaction, (e for e in saved if e.run in owned))
            return HeartbeatReport(
                owned=owned,
                cancelled=frozenset(
                    job_id for job_id, _, asked_at in running if asked_at is not None
                ),
            )

        return self._database.write(work, urgent=True)

    def held(self, worker_id: str) -> list[ClaimedJob]:
        """Return the jobs that a worker has claimed and not finished."""
        rows = self._database.read_all("held", worker_id=worker_id)
        return list(map(ClaimedJob._make, rows))

    def cancelled(self, worker_id: str) -> list[str]:
        """Return the ids of a worker's running jobs that it is asked to stop."""
        rows = self._database.read_all("cancelled", worker_id=worker_id)
        return [job_id for (job_id,) in rows]

    def running(self) -> list[RunningJob]:
        """Return the running jobs of all workers with their heartbeat counters."""
        rows = self._database.read_all("running")
        return [RunningJob._make(row) for row in rows]

    def rescue(self, observed: Iterable[RunningJob]) -> int:
        """Rescue jobs whose worker has fallen silent; return how many.

        A job goes to ``failed`` with its queue's failure delay, or to ``dead`` when its
        attempts are used up, a user asked it to stop, or its worker died under it for
        the third time (the poison-pill limit). One that may not have started waits
        again at once, and gets another attempt. One that cannot be rescued is logged
        and does not block the rest.

        Args:
            observed: The jobs as last seen; those that have changed since are left.

        Raises:
            StorageError: The database stores nothing now.
        """
        return self._rescuer.rescue(observed)

    @cached_property
    def _rescuer(self) -> Rescuer:
        # Units of requests need none.
        return Rescuer(
            self._database, self._clock, self._jitter, self.follow_ups, self._recorder,
            settlement=self.settlement,
        )  # fmt: skip

    def next_due_in_s(self, queue_names: Iterable[str]) -> float | None:
        """Return the seconds until a claim from one of these queues may find a job.

        For a caller that has just claimed. 0 means that a deferred job is due, None
        that none waits. If another worker held one at the claim, it says a quarter of a
        second; in a paused queue, a second.
        """

        def work(transaction: Transaction) -> list[int | None]:
            waits: list[int | None] = []
            for name in queue_names:
                rows = transaction.all("next_due", queue_name=name)
                waits.extend(wait_us for (wait_us,) in rows)
            return waits

        waits = [us for us in self._database.read(work) if us is not None]
        return min(waits) / SECOND_US if waits else None
