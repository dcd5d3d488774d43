"""How a job gets into the table exactly once, whatever happens to the answer.

The id is minted before the first try and kept for every further one. An insert that
changes nothing has met either its own id, which is success after an unclear commit
(D32), or a dedupe key that an unfinished job holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import DuplicateJobError, StorageBusyError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.queues import DEFAULT_MAX_WORKERS
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.database import (
    Database,
    Parameter,
    Transaction,
    encode_rows,
)
from flask_forge_jobs.storage.request_keys import remember, remembered

# The holder of a key may finish between the insert and the look-up (D33).
ROUNDS = 3
BULK_ROWS = 1000
# A queue is registered again after this time, should somebody have deleted it.
KNOWN_QUEUE_S = 60.0


class Enqueuer:
    """Stores new jobs.

    Args:
        database: The seam to the database.
        ids: Mints job ids.
        clock: Ages what is known of the queues.
    """

    def __init__(self, database: Database, ids: UlidGenerator, clock: Clock) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._known_until: dict[str, float] = {}

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store one job; see :meth:`JobQueue.enqueue`."""
        parameters = _parameters(job, self._ids.new())
        if self._is_known(job.queue_name):
            rows = self._database.single("enqueue", **parameters)
            if rows:
                self._database.wake(job.queue_name)
                return _new(job, str(parameters["id"]), rows[0][0])
            created: set[str] = set()
        else:
            created = self._register([job.queue_name])
        result = self._database.write(
            lambda transaction: self._store(transaction, job, parameters, created)
        )
        self._remember([job.queue_name])
        return result

    def enqueue_many(
        self, jobs: Sequence[NewJob], key: RequestKey | None = None
    ) -> list[EnqueueResult]:
        """Store jobs, all or none; see :meth:`JobQueue.enqueue_many`."""
        ids = self._ids.new_many(len(jobs))
        names = sorted({job.queue_name for job in jobs})
        created = self._register([name for name in names if not self._is_known(name)])
        results = self._database.write(
            lambda transaction: self._store_once(transaction, jobs, ids, created, key)
        )
        self._remember(names)
        return results

    def _is_known(self, queue_name: str) -> bool:
        return self._known_until.get(queue_name, 0.0) > self._clock.monotonic()

    def _remember(self, queue_names: Iterable[str]) -> None:
        until = self._clock.monotonic() + KNOWN_QUEUE_S
        self._known_until.update(dict.fromkeys(queue_names, until))

    def _register(self, queue_names: Sequence[str]) -> set[str]:
        """Register queues that are missing; return those that were."""

        def work(transaction: Transaction) -> set[str]:
            return {
                name
                for name in queue_names
                if transaction.all(
                    "ensure_queue", name=name, max_workers=DEFAULT_MAX_WORKERS
                )
            }

        return self._database.write(work) if queue_names else set()

    def _store(
        self,
        transaction: Transaction,
        job: NewJob,
        parameters: dict[str, Parameter],
        created: set[str],
    ) -> EnqueueResult:
        for _ in range(ROUNDS):
            rows = transaction.all("enqueue", **parameters)
            if rows:
                transaction.wake(job.queue_name)
                return _new(job, str(parameters["id"]), rows[0][0], created)
            found = _find(transaction, job, str(parameters["id"]))
            if found is not None:
                return found
        raise StorageBusyError(f"dedupe key {job.dedupe_key!r} keeps changing hands")

    def _store_once(
        self,
        transaction: Transaction,
        jobs: Sequence[NewJob],
        ids: Sequence[str],
        created: set[str],
        key: RequestKey | None,
    ) -> list[EnqueueResult]:
        if key is None:
            return self._store_many(transaction, jobs, ids, created)
        before = remembered(transaction, key, jobs)
        if before is not None:
            return before
        results = self._store_many(transaction, jobs, ids, created)
        remember(transaction, key, results)
        return results

    def _store_many(
        self,
        transaction: Transaction,
        jobs: Sequence[NewJob],
        ids: Sequence[str],
        created: set[str],
    ) -> list[EnqueueResult]:
        pairs = list(zip(jobs, ids, strict=True))
        for queue_name in {job.queue_name for job in jobs}:
            transaction.wake(queue_name)
        # Only a repeated unit can meet an id of its own, and only a key another job;
        # what hardly any job has stays out of the rows that are added fastest.
        careful = [
            _parameters(job, job_id)
            for job, job_id in pairs
            if transaction.attempt or not _is_plain(job)
        ]
        due: dict[str, int] = {}
        if len(careful) < len(pairs):
            due.update(_append(transaction, pairs))
        if careful:
            due.update(_store_unless_held(transaction, careful))
        held = {str(values["id"]): values for values in careful}
        return [
            _new(job, job_id, due[job_id], created)
            if job_id in due
            else self._store(transaction, job, held[job_id], created)
            for job, job_id in pairs
        ]


def _parameters(job: NewJob, job_id: str) -> dict[str, Parameter]:
    return {
        "id": job_id,
        "queue_name": job.queue_name,
        "kind": job.kind,
        "payload": job.payload,
        "priority": job.priority,
        "run_at": None if job.run_at is None else to_micros(job.run_at),
        "max_attempts": job.max_attempts,
        "dedupe_key": job.dedupe_key,
        "timeout_s": job.timeout_s,
        "schedule_name": job.schedule_name,
    }


def _is_plain(job: NewJob) -> bool:
    return job.dedupe_key is None and job.schedule_name is None


def _append(
    transaction: Transaction, pairs: Iterable[tuple[NewJob, str]]
) -> dict[str, int]:
    """Store the plain jobs; return when each may start."""
    now_us = int(transaction.all("now")[0][0])
    plain = [(job, job_id, _due_us(job, now_us)) for job, job_id in pairs]
    plain = [each for each in plain if _is_plain(each[0])]
    transaction.append("append_jobs", (_row(*each, now_us) for each in plain))
    return {job_id: due_us for _, job_id, due_us in plain}


def _due_us(job: NewJob, now_us: int) -> int:
    return now_us if job.run_at is None else max(to_micros(job.run_at), now_us)


def _row(job: NewJob, job_id: str, due_us: int, now_us: int) -> tuple[Parameter, ...]:
    return (
        job_id,
        job.queue_name,
        job.kind,
        job.payload,
        job.priority,
        now_us,
        due_us,
        due_us > now_us,
        job.max_attempts,
        job.timeout_s,
    )


def _store_unless_held(
    transaction: Transaction, parameters: Sequence[dict[str, Parameter]]
) -> dict[str, int]:
    """Store jobs that may clash; return when those that did not may start."""
    # Keys in one order everywhere, so that two bulk calls cannot lock crosswise.
    ordered = sorted(_first_of_each_key(parameters), key=_key_order)
    stored: dict[str, int] = {}
    for start in range(0, len(ordered), BULK_ROWS):
        rows = encode_rows(ordered[start : start + BULK_ROWS])
        stored.update(transaction.all("enqueue_many", rows=rows))  # pairs
    return stored


def _key_order(parameters: dict[str, Parameter]) -> str:
    return str(parameters["dedupe_key"] or "")


def _first_of_each_key(
    parameters: Iterable[dict[str, Parameter]],
) -> list[dict[str, Parameter]]:
    seen: set[Parameter] = set()
    first = []
    for values in parameters:
        key = values["dedupe_key"]
        if key is None or key not in seen:
            first.append(values)
            seen.add(key)
    return first


def _new(
    job: NewJob, job_id: str, due_us: int, created: Iterable[str] = ()
) -> EnqueueResult:
    return EnqueueResult(
        id=job_id,
        is_deduped=False,
        queue_name=job.queue_name,
        kind=job.kind,
        status=JobStatus.PENDING,
        scheduled_at_us=due_us,
        queue_created=job.queue_name in created,
    )


def _find(transaction: Transaction, job: NewJob, job_id: str) -> EnqueueResult | None:
    rows = transaction.all("find_enqueued", id=job_id, dedupe_key=job.dedupe_key)
    if not rows:
        return None
    found_id, queue_name, kind, status, due_us = rows[0]
    if found_id == job_id:
        return _new(job, job_id, due_us)
    if kind != job.kind:
        raise DuplicateJobError(str(job.dedupe_key), found_id, kind)
    return EnqueueResult(found_id, True, queue_name, kind, JobStatus(status), due_us)
