"""The slots of the workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.workers import Slot
from flask_forge_jobs.storage.base import Storage

MAX_LISTED_SLOTS = 5000


@dataclass(frozen=True, slots=True)
class SlotList:
    """The first slots, and how many there are in all."""

    slots: Sequence[Slot] = ()
    total: int = 0


def list_slots(storage: Storage, queue_name: str | None = None) -> SlotList:
    """Return at most 5,000 slots of one queue or of all; an invalid name has no slots.

    Slots of a dead worker stay until the reaper removes them.
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
