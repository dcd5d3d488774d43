"""The meaning of errors of SQLite and of the file system."""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass

from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.database import ANOTHER_SCHEMA, Faults, TransientError

BUSY = 5
# A crowd kept it from the write-ahead log for as long as SQLite tries, some seconds.
_CROWDED = 15
_LOCKED, _INTERRUPT, _CORRUPT, _NOT_A_DATABASE = 6, 9, 11, 26
# SQLite does not wait for these, so a retry may help; plain SQLITE_BUSY has waited.
_RETRIED_CODES = frozenset({6, 261, 262, 517, 773})
# Permission, I/O error, read-only, full, cannot open.
_UNAVAILABLE = frozenset({3, 8, 10, 13, 14})
_NOT_PERMITTED = frozenset({3, 8, 14})
# SQLITE_IOERR_SHORT_READ: the log names pages that the file does not have.
_SHORT_READ = 522
_NO_ACCESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# It has no code of its own.
_LACKS = ("no such column", "no such table", "table forge_")
_WRITABLE = "; the database needs a folder that this user can write to"
# In a caller's transaction, which we cannot repeat.
_LATE = (
    ", or has changed since this transaction first read; begin a transaction with "
    "BEGIN IMMEDIATE if it reads before it writes"
)
_REMOVED = (
    "; the file is shorter than its log, as after it was removed or replaced: end all "
    "processes that have it open, then put it back, or remove its -wal and -shm as well"
)


@dataclass(eq=False)
class SqliteFaults(Faults):
    """Translates errors of SQLite and of the file system."""

    where: str
    read_limit_s: float

    def _meaning(self, error: BaseException) -> Exception | None:
        if isinstance(error, OSError):
            return StorageUnavailableError(self._named(error))
        if isinstance(error, UnicodeDecodeError):  # an error that quotes the damage
            return self._unsound(repr(error.object))
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorcode", None) or 0
        primary = code & 0xFF
        if primary in (BUSY, _LOCKED, _CROWDED):
            advice = "" if self.is_retried else _LATE
            busy = StorageBusyError(f"{self.where} is locked by another writer{advice}")
            return TransientError(busy) if code in _RETRIED_CODES else busy
        if primary in (_CORRUPT, _NOT_A_DATABASE):
            return self._unsound(error)
        if primary == _INTERRUPT:
            return StorageUnavailableError(
                f"a read took longer than {self.read_limit_s} s"
            )
        if primary in _UNAVAILABLE:
            advice = _WRITABLE if primary in _NOT_PERMITTED else ""
            advice = _REMOVED if code == _SHORT_READ else advice
            return StorageUnavailableError(f"{self.where}: {error}{advice}")
        advice = ANOTHER_SCHEMA if str(error).startswith(_LACKS) else ""
        return StorageError(f"{self.where}: {error}{advice}")

    def _unsound(self, reason: object) -> StorageCorruptError:
        text = f"{self.where} is not a sound SQLite database: {reason}"
        return StorageCorruptError(text)

    def _named(self, error: OSError) -> str:
        """Name the file too if it is another one, such as a lock beside it."""
        text = f"{self.where}: {error.strerror}"
        name = error.filename
        if name is not None and not text.startswith((f"{name}:", f"{name} (")):
            text += f" ({name})"
        return text + _WRITABLE if error.errno in _NO_ACCESS else text
