"""Whether a new job comes in: its queue has room, and no earlier call has added it.

Limits of queues hold back only what producers add; retries, requeued jobs and jobs of
schedules always come in. A producer remembers a queue for a while instead of asking for
each job.

A request key and the jobs of its request commit together, so a caller may repeat a
request whose answer was lost: it is done once, and repetitions get the same answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import (
    QueueFullError,
    RequestKeyReusedError,
    StorageBusyError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.queues import (
    DEFAULT_MAX_QUEUES,
    DEFAULT_MAX_WORKERS,
    one_too_many,
)
from flask_forge_jobs.model.request_keys import KEPT_US, RequestKey
from flask_forge_jobs.storage.database import (
    Executor,
    Parameter,
    Transaction,
    encode_names,
)


def tightened(
    bounds: Mapping[str, int], queue_names: Iterable[str], most: int | None
) -> Mapping[str, int]:
    """Return the bounds of queues, none above ``most``; None changes nothing."""
    if most is None:
        return bounds
    return {name: min(bounds.get(name, most), most) for name in queue_names}


def admit(
    transaction: Transaction,
    jobs: Sequence[NewJob],
    ids: Sequence[str],
    bounds: Mapping[str, int],
    store: Callable[[], list[EnqueueResult]],
    *,
    is_exact: bool = True,
) -> list[EnqueueResult]:
    """Store jobs if their queues have room; the transaction must not commit otherwise.

    A queue without a bound takes any number. With ``is_exact``, producers of a queue
    wait for one another; otherwise concurrent ones do not see each other's jobs.
    """
    if not bounds or _are_stored(transaction, jobs, ids):
        return store()
    if is_exact:
        for name in sorted(bounds):
            transaction.all("lock_queue", name=name)
    # Only the insert shows whether a job with a dedupe key is new.
    coming = Counter(job.queue for job in jobs if job.dedupe_key is None)
    for name in sorted(bounds.keys() & coming.keys()):
        _require_room(transaction, name, bounds[name] - coming[name])
    results = store()
    keyed = {job.queue for job in jobs if job.dedupe_key is not None}
    new = {each.queue_name for each in results if not each.is_deduped}
    for name in sorted(bounds.keys() & keyed & new):
        _require_room(transaction, name, bounds[name])
    return results


def _are_stored(
    transaction: Transaction, jobs: Sequence[NewJob], ids: Sequence[str]
) -> bool:
    """Whether an earlier commit, whose answer was lost, has stored the jobs."""
    if not transaction.attempt:
        return False
    pairs = zip(jobs, ids, strict=True)
    # An id that the caller has chosen may be that of a job from another call.
    asked = [job_id for job, job_id in pairs if job.job_id is None] or ids
    return bool(transaction.all("statuses", rows=encode_names("job_id", asked)))


def _require_room(transaction: Transaction, queue_name: str, most: int) -> None:
    waiting = int(transaction.all("waiting_of_queue", name=queue_name)[0][0])
    if waiting > most:
        raise QueueFullError(queue_name, waiting)


# A queue is registered again, and its bound read again, after this time: somebody may
# have deleted or changed it.
KNOWN_QUEUE_S = 10.0


@dataclass(frozen=True, slots=True)
class RegisteredQueues:
    """Newly registered queues, and the bounds of those that have one."""

    created: set[str] = field(default_factory=set)
    bounds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Known:
    until: float
    bound: int | None


class KnownQueues:
    """Registers queues, and remembers for a while that they are registered."""

    def __init__(
        self, database: Executor, clock: Clock, most: int = DEFAULT_MAX_QUEUES
    ) -> None:
        self._database = database
        self._clock = clock
        self._most = most
        self._known: dict[str, _Known] = {}

    def is_open(self, queue_name: str) -> bool:
        """Whether a queue is known to be registered and to have no bound."""
        known = self._known.get(queue_name)
        return (
            known is not None
            and known.bound is None
            and known.until > self._clock.monotonic()
        )

    def look_up(self, queue_names: Sequence[str]) -> RegisteredQueues:
        """Register missing queues, and return what is known of all of them."""
        if any(self._known_of(name) is None for name in queue_names):
            try:
                return self._database.write(
                    lambda transaction: self.look_up_within(transaction, queue_names)
                )
            except StorageOutcomeUnknownError as error:
                # Only a registration is in doubt; no job has been sent yet.
                raise StorageUnavailableError(
                    "the connection to the database was lost"
                ) from error
        return RegisteredQueues(bounds=self._bounds(queue_names))

    def look_up_within(
        self, transaction: Transaction, queue_names: Sequence[str]
    ) -> RegisteredQueues:
        """Do the same in an open transaction."""
        bounds = self._bounds(queue_names)
        unknown = [name for name in queue_names if self._known_of(name) is None]
        if not unknown:
            return RegisteredQueues(bounds=bounds)
        created = {
            name
            for name in unknown
            if transaction.all(
                "ensure_queue",
                name=name,
                max_workers=DEFAULT_MAX_WORKERS,
                most=self._most,
            )
        }
        rows = transaction.all("queue_bounds", rows=encode_names("name", unknown))
        found: dict[str, int | None] = dict(rows)
        for name in unknown:
            if name not in found:
                raise one_too_many(name, self._most)
        bounded = {name: most for name, most in found.items() if most is not None}
        return RegisteredQueues(created, bounds | bounded)

    def remember(self, queue_names: Iterable[str], bounds: Mapping[str, int]) -> None:
        """Remember registered queues for :data:`KNOWN_QUEUE_S`, with their bounds."""
        until = self._clock.monotonic() + KNOWN_QUEUE_S
        for name in queue_names:
            self._known[name] = _Known(until, bounds.get(name))

    def forget(self) -> None:
        """Forget every queue: the next database opened may be another one."""
        self._known.clear()

    def _known_of(self, queue_name: str) -> _Known | None:
        known = self._known.get(queue_name)
        return known if known and known.until > self._clock.monotonic() else None

    def _bounds(self, queue_names: Iterable[str]) -> dict[str, int]:
        found = ((name, self._known_of(name)) for name in queue_names)
        return {
            name: known.bound
            for name, known in found
            if known is not None and known.bound is not None
        }


# A new key removes up to this many expired ones, so that their number falls.
DROPPED_AT_ONCE = 10
# Leading fields of a result to remember; the flags behind them belong to one call.
REMEMBERED_FIELDS = 7


def once(
    transaction: Transaction,
    jobs: Sequence[NewJob],
    key: RequestKey | None,
    store: Callable[[], list[EnqueueResult]],
) -> list[EnqueueResult]:
    """Store jobs, or return what an earlier request with the key did."""
    if key is None:
        return store()
    before = _remembered(transaction, key, jobs)
    if before is not None:
        return before
    results = store()
    _remember(transaction, key, results)
    return results


def _remembered(
    transaction: Transaction, key: RequestKey, jobs: Sequence[NewJob]
) -> list[EnqueueResult] | None:
    """Return what an earlier request with the key did, or take the key."""
    fingerprint = key.fingerprint(jobs)
    if transaction.all(
        "take_request_key", fingerprint=fingerprint, kept_us=KEPT_US, **_place(key)
    ):
        transaction.defer("drop_expired_request_keys", limit=DROPPED_AT_ONCE)
        return None
    rows = transaction.all("find_request_key", **_place(key))
    if not rows:
        raise StorageBusyError(f"the key {key.value!r} expired just now")
    before, answer = rows[0]
    if before != fingerprint:
        raise RequestKeyReusedError(key.value)
    return [
        EnqueueResult(*row)._replace(status=JobStatus(row[4]), is_replayed=True)
        for row in json.loads(answer)
    ]


def _remember(
    transaction: Transaction, key: RequestKey, results: Sequence[EnqueueResult]
) -> None:
    rows = [result[:REMEMBERED_FIELDS] for result in results]
    answer = json.dumps(rows, separators=(",", ":"))
    transaction.defer("answer_request_key", answer=answer, **_place(key))


def _place(key: RequestKey) -> dict[str, Parameter]:
    return {"caller": key.caller, "request_key": key.value}
