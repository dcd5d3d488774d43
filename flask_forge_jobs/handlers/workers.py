"""The registry of worker processes and their slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.workers import Slot, WorkersOverview
from flask_forge_jobs.storage.base import Storage

MAX_LISTED_SLOTS = 5000


@dataclass(frozen=True, slots=True)
class SlotList:
    """The first slots, and how many there are in all."""

    slots: Sequence[Slot] = ()
    total: int = 0


def list_slots(storage: Storage, queue_name: str | None = None) -> SlotList:
    """Return the slots of one queue, or of all of them; at most 5,000.

    Slots whose worker died stay until the reaper removes them.

    Args:
        storage: Where the registry is.
        queue_name: Exact name; None means every queue. A name that no queue can have
            is a queue without slots, not an error.

    Raises:
        StorageUnavailableError: The database could not be reached.
    """
    if queue_name is not None:
        try:
            check_queue_name(queue_name)
        except InvalidInputError:
            return SlotList()
    found = storage.workers.slots(queue_name, limit=MAX_LISTED_SLOTS)
    is_whole = len(found) < MAX_LISTED_SLOTS
    total = len(found) if is_whole else storage.workers.count_slots(queue_name)
    return SlotList(found, total)


def overview(storage: Storage) -> WorkersOverview:
    """Return the live worker processes and the queues that none of them serves.

    A process is live while its heartbeat is at most 60 s old.

    Raises:
        StorageUnavailableError: The database could not be reached.
    """
    return storage.workers.overview()
