"""What the storage says of itself."""

from __future__ import annotations

from flask_forge_jobs.storage.base import Storage, StorageInfo


def storage_info(storage: Storage) -> StorageInfo:
    """Return the backend's name and its facts, read from the live connection.

    Raises:
        StorageUnavailableError: The database could not be reached.
    """
    return storage.describe()
