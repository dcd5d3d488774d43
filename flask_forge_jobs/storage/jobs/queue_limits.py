"""Whether queues have room for new jobs, and what a producer remembers of queues.

Only what producers add is held back: retries, requeued jobs and those of cron schedules
come in whatever waits already. A producer that remembers a queue need not ask for each
job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import (
    QueueFullError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.queues import (
    DEFAULT_MAX_QUEUES,
    DEFAULT_MAX_WORKERS,
    one_too_many,
)
from flask_forge_jobs.storage.database import Executor, Transaction, encode_names


def tightened(
    bounds: Mapping[str, int], queue_names: Iterable[str], most: int | None
) -> Mapping[str, int]:
    """Return the bounds of queues, none of them wider than ``most``."""
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
    """Store jobs if their queues have room for them.

    Args:
        transaction: The open transaction; it must not commit when this raises.
        jobs: What is to be stored.
        ids: Their ids.
        bounds: Most jobs that may wait in a queue; a queue without one takes all.
        store: Stores them.
        is_exact: Producers of the same queue wait for one another; else those at the
            same moment do not see each other.

    Raises:
        QueueFullError: A queue has no room.
    """
    if not bounds or _are_stored(transaction, ids):
        return store()
    if is_exact:
        for name in sorted(bounds):
            transaction.all("lock_queue", name=name)
    # Whether a job with a key is new shows only when it is stored.
    coming = Counter(job.queue for job in jobs if job.dedupe_key is None)
    for name in sorted(bounds.keys() & coming.keys()):
        _require_room(transaction, name, bounds[name] - coming[name])
    results = store()
    keyed = {job.queue for job in jobs if job.dedupe_key is not None}
    new = {each.queue_name for each in results if not each.is_deduped}
    for name in sorted(bounds.keys() & keyed & new):
        _require_room(transaction, name, bounds[name])
    return results


def _are_stored(transaction: Transaction, ids: Sequence[str]) -> bool:
    """Whether a commit before this one has stored them although its answer was lost."""
    if not transaction.attempt:
        return False
    return bool(transaction.all("statuses", rows=encode_names("job_id", ids)))


def _require_room(transaction: Transaction, queue_name: str, most: int) -> None:
    waiting = int(transaction.all("waiting_of_queue", name=queue_name)[0][0])
    if waiting > most:
        raise QueueFullError(queue_name, waiting)


# A queue is registered again after this time, should somebody have deleted it, and its
# bound is read again, should somebody have changed it.
KNOWN_QUEUE_S = 10.0


@dataclass(frozen=True, slots=True)
class Queues:
    """Registered queues.

    Args:
        created: Those that were not registered before.
        bounds: Most jobs that may wait, for the queues that have such a bound.
    """

    created: set[str] = field(default_factory=set)
    bounds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Known:
    until: float
    bound: int | None


class KnownQueues:
    """Registers queues, and remembers for a while that they are.

    Args:
        database: The seam to the database.
        clock: Ages what is known.
        most: Most queues that there may be.
    """

    def __init__(
        self, database: Executor, clock: Clock, most: int = DEFAULT_MAX_QUEUES
    ) -> None:
        self._database = database
        self._clock = clock
        self._most = most
        self._known: dict[str, _Known] = {}

    def is_open(self, queue_name: str) -> bool:
        """Whether a queue is known to be registered and to take any number of jobs."""
        known = self._known.get(queue_name)
        return (
            known is not None
            and known.bound is None
            and known.until > self._clock.monotonic()
        )

    def look_up(self, queue_names: Sequence[str]) -> Queues:
        """Register queues that are missing, and return what is known of all.

        Raises:
            InvalidInputError: That would be more queues than there may be.
        """
        if any(self._known_of(name) is None for name in queue_names):
            try:
                return self._database.write(
                    lambda transaction: self.look_up_within(transaction, queue_names)
                )
            except StorageOutcomeUnknownError as error:
                # Of the queues; no job has been sent yet.
                raise StorageUnavailableError(
                    "the connection to the database was lost"
                ) from error
        return Queues(bounds=self._bounds(queue_names))

    def look_up_within(
        self, transaction: Transaction, queue_names: Sequence[str]
    ) -> Queues:
        """Do the same in an open transaction."""
        bounds = self._bounds(queue_names)
        unknown = [name for name in queue_names if self._known_of(name) is None]
        if not unknown:
            return Queues(bounds=bounds)
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
        return Queues(created, bounds | bounded)

    def remember(self, queue_names: Iterable[str], bounds: Mapping[str, int]) -> None:
        """Know registered queues for some seconds.

        Args:
            queue_names: The queues.
            bounds: Most jobs that may wait; a queue that is left out has no bound.
        """
        until = self._clock.monotonic() + KNOWN_QUEUE_S
        for name in queue_names:
            self._known[name] = _Known(until, bounds.get(name))

    def forget(self) -> None:
        """Know no queue: what is opened next may be another database."""
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
