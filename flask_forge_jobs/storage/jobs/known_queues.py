"""The queues that a producer has registered, kept for a while with their bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageOutcomeUnknownError, StorageUnavailableError
from flask_forge_jobs.model.queues import (
    DEFAULT_MAX_QUEUES,
    DEFAULT_MAX_WORKERS,
    one_too_many,
)
from flask_forge_jobs.storage.database import Executor, Transaction, encode_names

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

    def __init__(self, clock: Clock, max_queues: int = DEFAULT_MAX_QUEUES) -> None:
        self.clock = clock
        self._max_queues = max_queues
        self._known: dict[str, _Known] = {}
        self.open_until: dict[str, float] = {}
        """Until when a queue is known to be registered and to have no bound."""

    def look_up(
        self, database: Executor, queue_names: Sequence[str]
    ) -> RegisteredQueues:
        """Register missing queues, and return the known facts of all of them."""
        if any(self._known_of(name) is None for name in queue_names):
            try:
                return database.write(
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
                max_queues=self._max_queues,
            )
        }
        rows = transaction.all("queue_bounds", rows=encode_names("name", unknown))
        bounds_by_name: dict[str, int | None] = dict(rows)
        for name in unknown:
            if name not in bounds_by_name:
                raise one_too_many(name, self._max_queues)
        bounded = {
            name: bound for name, bound in bounds_by_name.items() if bound is not None
        }
        return RegisteredQueues(created, bounds | bounded)

    def remember(self, queue_names: Iterable[str], bounds: Mapping[str, int]) -> None:
        """Remember registered queues for :data:`KNOWN_QUEUE_S`, with their bounds."""
        until = self.clock.monotonic() + KNOWN_QUEUE_S
        for name in queue_names:
            self._known[name] = _Known(until, bounds.get(name))
            self.open_until[name] = 0.0 if name in bounds else until

    def forget(self) -> None:
        """Forget every queue: the next database opened may be another one."""
        self._known.clear()
        self.open_until.clear()

    def _known_of(self, queue_name: str) -> _Known | None:
        known = self._known.get(queue_name)
        return known if known and known.until > self.clock.monotonic() else None

    def _bounds(self, queue_names: Iterable[str]) -> dict[str, int]:
        all_known = ((name, self._known_of(name)) for name in queue_names)
        return {
            name: known.bound
            for name, known in all_known
            if known is not None and known.bound is not None
        }
