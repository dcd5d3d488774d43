"""The registry of worker processes and their slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.processes import Process, WorkersOverview
from flask_forge_jobs.storage.base import Storage

MAX_LISTED_PROCESSES = 5000


@dataclass(frozen=True, slots=True)
class ProcessList:
    """The first slots, and how many there are in all."""

    processes: Sequence[Process] = ()
    total: int = 0


def list_processes(storage: Storage, queue_name: str | None = None) -> ProcessList:
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
            return ProcessList()
    found = storage.processes.all(queue_name, limit=MAX_LISTED_PROCESSES)
    is_whole = len(found) < MAX_LISTED_PROCESSES
    total = len(found) if is_whole else storage.processes.count(queue_name)
    return ProcessList(found, total)


def workers(storage: Storage) -> WorkersOverview:
    """Return the live worker processes and the queues that none of them serves.

    A process is live while its heartbeat is at most 60 s old.

    Raises:
        StorageUnavailableError: The database could not be reached.
    """
    return storage.processes.workers()
