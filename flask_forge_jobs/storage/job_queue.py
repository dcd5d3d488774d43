"""JobQueue: the hot path. Enqueue, claim, finish, heartbeat, revive.

Every change of a running job is fenced by its id, its state, its owner and its attempt,
so a worker that lost a job changes nothing, whatever it believes. Outcomes and claims
travel in batches: :meth:`JobQueue.exchange` writes everything that has ended and claims
everything there is room for in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.backoff import throttle_delay_s
from flask_forge_jobs.model.error_history import append_error
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import (
    MAX_BULK_JOBS,
    ClaimedJob,
    EnqueueResult,
    Exchange,
    HeartbeatReport,
    JobStatus,
    NewJob,
    RunningJob,
)
from flask_forge_jobs.model.outcomes import CANCELLED_MESSAGE, Settlement
from flask_forge_jobs.model.queues import COOLDOWN_DECAY_GRACE_S, QueueSettings
from flask_forge_jobs.storage.database import (
    Database,
    Parameter,
    Row,
    Transaction,
    encode_rows,
)
from flask_forge_jobs.storage.enqueueing import Enqueuer
from flask_forge_jobs.storage.reviving import revive_jobs
from flask_forge_jobs.storage.rows import claimed_from_row, queue_from_row

logger = logging.getLogger(__name__)

REVIVE_BATCH = 200
_FINAL = (JobStatus.DONE, JobStatus.DEAD)


def _to_us(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * SECOND_US)


class JobQueue:
    """The verbs of producers and worker processes.

    Args:
        database: The seam to the database.
        ids: Mints job ids.
        clock: Stamps the error history.
        jitter: Returns a number in [0, 1) that spreads retries.
    """

    def __init__(
        self,
        database: Database,
        ids: UlidGenerator,
        clock: Clock,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._jitter = jitter
        self._enqueuer = Enqueuer(database, ids, clock)

    # -- producing -----------------------------------------------------------------

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store one job and wake a worker; one statement and one commit.

        A queue that is not registered yet is registered with the defaults (D27).

        Args:
            job: What to store.

        Returns:
            The new job, or the unfinished one that holds its dedupe key.

        Raises:
            DuplicateJobError: The key is held by a job of another kind.
            StorageError: The job was not stored.
        """
        return self._enqueuer.enqueue(job)

    def enqueue_many(self, jobs: Sequence[NewJob]) -> list[EnqueueResult]:
        """Store up to 10,000 jobs, all or none, and wake each queue once.

        Of several jobs with one dedupe key only the first is stored.

        Args:
            jobs: What to store; ids are minted in this order.

        Returns:
            One result for each job, in order.

        Raises:
            InvalidInputError: More than 10,000 jobs.
            DuplicateJobError: A key is held by a job of another kind.
            StorageError: Nothing was stored.
        """
        if len(jobs) > MAX_BULK_JOBS:
            raise InvalidInputError(
                "jobs", f"{len(jobs)} at once exceed {MAX_BULK_JOBS}"
            )
        return self._enqueuer.enqueue_many(jobs) if jobs else []

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

    def finish(self, owner: str, settlements: Sequence[Settlement]) -> list[str]:
        """Write how runs ended.

        Args:
            owner: Who claimed the jobs.
            settlements: At most one for each job.

        Returns:
            Ids that were refused because the owner no longer holds that attempt.
        """
        return self.exchange(owner, settlements, {}).refused

    def exchange(
        self,
        owner: str,
        settlements: Sequence[Settlement],
        demand: Mapping[str, int],
        *,
        promote: bool = True,
    ) -> Exchange:
        """Write outcomes and claim new jobs in one transaction.

        Args:
            owner: Who claimed the jobs that end and will own the new ones.
            settlements: At most one for each job.
            demand: How many jobs to claim at most from each queue, in this order.
            promote: Look first for jobs whose time has come; False leaves them waiting
                for a caller that knows when the next one is due.

        Returns:
            The claimed jobs, and the ids of outcomes that were refused.
        """
        if not settlements and len(demand) == 1 and not promote:
            return self._claim_only(owner, *next(iter(demand.items())))

        def work(transaction: Transaction) -> Exchange:
            exchange = Exchange()
            if settlements:
                exchange.refused.extend(self._finish(transaction, owner, settlements))
            for queue_name, limit in demand.items():
                if promote:
                    transaction.later("promote", queue_name=queue_name)
                rows = transaction.all(
                    "claim", queue_name=queue_name, owner=owner, limit=limit
                )
                exchange.claimed.extend(_in_claim_order(rows))
            return exchange

        return self._database.write(work)

    def _claim_only(self, owner: str, queue_name: str, limit: int) -> Exchange:
        """Take the short way of an idle worker: one statement, one round trip."""
        rows = self._database.single(
            "claim", queue_name=queue_name, owner=owner, limit=limit
        )
        return Exchange(claimed=_in_claim_order(rows))

    def _finish(
        self, transaction: Transaction, owner: str, settlements: Sequence[Settlement]
    ) -> list[str]:
        throttled = self._plan_cooldowns(transaction, settlements)
        for queue_name in _queues_with_success(settlements):
            transaction.later(
                "decay_cooldown",
                name=queue_name,
                grace_us=COOLDOWN_DECAY_GRACE_S * SECOND_US,
            )
        at_us = self._clock.now_us()
        rows = [_finish_row(settlement, at_us) for settlement in settlements]
        finished = _ids(transaction.all("finish", owner=owner, rows=encode_rows(rows)))
        missing = [each for each in settlements if each.job.id not in finished]
        if missing:
            finished |= self._finish_rest(transaction, owner, missing, at_us)
        for settlement, delay_s in throttled:
            if settlement.job.id in finished:
                transaction.run(
                    "open_cooldown",
                    name=settlement.job.queue_name,
                    delay_us=_to_us(delay_s),
                )
        for queue_name in _queues_with_returns(settlements):
            transaction.wake(queue_name)
        return [each.job.id for each in missing if each.job.id not in finished]

    def _plan_cooldowns(
        self, transaction: Transaction, settlements: Sequence[Settlement]
    ) -> list[tuple[Settlement, float]]:
        """Lengthen the delay of throttled jobs to their queue's curve."""
        throttled = [each for each in settlements if each.cool_down_s is not None]
        planned = []
        # In one order everywhere, so that two processes cannot lock crosswise.
        for settlement in sorted(throttled, key=lambda each: each.job.queue_name):
            name = settlement.job.queue_name
            rows = transaction.all("lock_queue", name=name)
            queue = queue_from_row(rows[0]) if rows else QueueSettings(name)
            delay_s = throttle_delay_s(queue, settlement.cool_down_s or 0.0)
            settlement.delay_s = delay_s
            planned.append((settlement, delay_s))
        return planned

    def _finish_rest(
        self,
        transaction: Transaction,
        owner: str,
        missing: Sequence[Settlement],
        at_us: int,
    ) -> set[str]:
        """Deal with what the fence held back: cancelled, stored before, or lost."""
        cancelled: list[dict[str, Parameter]] = [
            {
                "job_id": each.job.id,
                "run": each.job.attempts,
                "error": CANCELLED_MESSAGE,
                "history": append_error(each.job, CANCELLED_MESSAGE, at_us),
            }
            for each in missing
            if each.status not in _FINAL
        ]
        found: set[str] = set()
        if cancelled:
            found |= _ids(
                transaction.all(
                    "finish_cancelled", owner=owner, rows=encode_rows(cancelled)
                )
            )
        if transaction.attempt > 0:
            # The commit before may have been stored although its answer was lost.
            rows: list[dict[str, Parameter]] = [
                {
                    "job_id": each.job.id,
                    "run": each.job.attempts - each.uncount,
                    "new_status": each.status.value,
                }
                for each in missing
            ]
            # Or as a cancelled one, which keeps its attempt.
            rows += [
                {
                    "job_id": row["job_id"],
                    "run": row["run"],
                    "new_status": JobStatus.DEAD,
                }
                for row in cancelled
            ]
            found |= _ids(transaction.all("settled", rows=encode_rows(rows)))
        return found

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
            if progress:
                rows: list[dict[str, Parameter]] = [
                    {"job_id": job_id, "new_progress": text}
                    for job_id, text in progress.items()
                ]
                transaction.later("set_progress", owner=owner, rows=encode_rows(rows))
            rows_found = transaction.all("heartbeat", owner=owner)
            return HeartbeatReport(
                owned=frozenset((job_id, attempt) for job_id, attempt, _ in rows_found),
                cancelled=frozenset(
                    job_id for job_id, _, asked_at in rows_found if asked_at is not None
                ),
            )

        return self._database.write(work, urgent=True)

    def cancelled(self, owner: str) -> list[str]:
        """Return the ids of an owner's running jobs that a user wants stopped."""
        rows = self._database.read(lambda tx: tx.all("cancelled", owner=owner))
        return [job_id for (job_id,) in rows]

    def running(self) -> list[RunningJob]:
        """Return every running job of every owner with its heartbeat counter."""
        rows = self._database.read(lambda transaction: transaction.all("running"))
        return [RunningJob._make(row) for row in rows]

    def revive(self, observed: Iterable[RunningJob]) -> int:
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
            self._revive_batch(jobs[start : start + REVIVE_BATCH])
            for start in range(0, len(jobs), REVIVE_BATCH)
        )

    def _revive_batch(self, jobs: Sequence[RunningJob]) -> int:
        return self._database.write(
            lambda transaction: revive_jobs(
                transaction, jobs, self._clock.now_us(), self._jitter
            )
        )

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


def _ids(rows: Iterable[Sequence[str]]) -> set[str]:
    return {row[0] for row in rows}


def _queues_with_success(settlements: Iterable[Settlement]) -> list[str]:
    return sorted({s.job.queue_name for s in settlements if s.status is JobStatus.DONE})


def _queues_with_returns(settlements: Iterable[Settlement]) -> list[str]:
    """Queues that got a job back which somebody else could run at once."""
    return sorted(
        {
            each.job.queue_name
            for each in settlements
            if each.status is JobStatus.PENDING
            and not each.delay_s
            and each.job.queue_name
        }
    )


def _finish_row(settlement: Settlement, at_us: int) -> dict[str, Parameter]:
    job, error = settlement.job, settlement.error
    row: dict[str, Parameter] = {
        "job_id": job.id,
        "run": job.attempts,
        "new_status": settlement.status.value,
        "uncount": int(settlement.uncount),
        "throttled": int(settlement.is_throttle),
    }
    if settlement.delay_s is not None:
        row["delay_us"] = _to_us(settlement.delay_s)
    if settlement.result is not None:
        row["new_result"] = settlement.result
    if error is not None:
        row["error"] = error
        row["history"] = append_error(job, error, at_us)
    return row
