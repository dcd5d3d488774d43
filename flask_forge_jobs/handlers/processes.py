"""The registry of worker slots."""

from __future__ import annotations

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.processes import Process
from flask_forge_jobs.storage.base import Storage


def list_processes(storage: Storage, queue_name: str | None = None) -> list[Process]:
    """Return the slots of one queue, or of all of them.

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
            return []
    return storage.processes.all(queue_name)
