"""What SQLite's errors mean to a caller."""

from __future__ import annotations

import sqlite3

from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.faults import Faults
from flask_forge_jobs.storage.retrying import TransientError

BUSY = 5
_LOCKED, _INTERRUPT, _CORRUPT, _NOT_A_DATABASE = 6, 9, 11, 26
# These fail at once although waiting would help; plain SQLITE_BUSY has waited already.
_RETRIED_CODES = frozenset({6, 261, 262, 517, 773})
# Permission, I/O error, read-only, full, cannot open.
_UNAVAILABLE = frozenset({3, 8, 10, 13, 14})


class SqliteFaults(Faults):
    """Faults of SQLite and of the file system.

    Args:
        where: What an error calls the database, such as its path.
        read_limit_s: Seconds after which a read is interrupted.
        is_retried: See :class:`.Faults`.
    """

    def __init__(self, where: str, read_limit_s: float, *, is_retried: bool) -> None:
        super().__init__(is_retried=is_retried)
        self._where = where
        self._read_limit_s = read_limit_s

    def _meaning(self, error: BaseException) -> Exception | None:
        if isinstance(error, OSError):
            return StorageUnavailableError(f"{self._where}: {error.strerror}")
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorcode", None) or 0
        primary = code & 0xFF
        if primary in (BUSY, _LOCKED):
            busy = StorageBusyError(f"{self._where} is locked by another writer")
            return TransientError(busy) if code in _RETRIED_CODES else busy
        if primary in (_CORRUPT, _NOT_A_DATABASE):
            return StorageCorruptError(
                f"{self._where} is not a sound SQLite database: {error}"
            )
        if primary == _INTERRUPT:
            return StorageUnavailableError(
                f"a read took longer than {self._read_limit_s} s"
            )
        if primary in _UNAVAILABLE:
            return StorageUnavailableError(f"{self._where}: {error}")
        return StorageError(f"{self._where}: {error}")
