"""What psycopg2's errors mean to a caller."""

from __future__ import annotations

import psycopg2

from flask_forge_jobs.errors import (
    DedupeKeyTakenError,
    SchemaTooNewError,
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.faults import Faults
from flask_forge_jobs.storage.postgres.quiet import is_unheard
from flask_forge_jobs.storage.retrying import TransientError

_SERIALIZATION = frozenset({"40001", "40P01", "55P03"})
# Of these the session has ended, the last two because it did nothing for too long.
_ENDED = frozenset({"57P01", "57P02", "57P03", "25P03", "57P05"})
# Out of disk, memory or connections; a disk or another part of the system failed.
_FAILING = ("53", "58")
# A standby, or a server that was told to take no writes.
_READ_ONLY = "25006"
_CANCELLED = "57014"
_UNIQUE = "23505"
_TOO_NEW = "FJ001"  # ours, of forge_check_version; its detail are the versions


def is_of_no_use(error: BaseException) -> bool:
    """Tell whether only another connection may reach a server that takes writes."""
    return isinstance(error, psycopg2.Error) and error.pgcode == _READ_ONLY


class PostgresFaults(Faults):
    """Faults of psycopg2, and of a pool that could not open a connection.

    Args:
        limit_s: Seconds after which the server gives a statement up.
        is_retried: See :class:`.Faults`.
    """

    def __init__(self, limit_s: float, *, is_retried: bool) -> None:
        super().__init__(is_retried=is_retried)
        self._limit_s = limit_s

    def _meaning(self, error: BaseException) -> Exception | None:
        if isinstance(error, StorageUnavailableError):
            return TransientError(error, is_away=True)
        if not isinstance(error, psycopg2.Error):
            return None
        code = error.pgcode or ""
        if code in _SERIALIZATION:
            return TransientError(StorageBusyError("the transaction kept conflicting"))
        if code == _UNIQUE:
            # Not transient: the same unit would meet the same key again.
            return DedupeKeyTakenError(
                "another transaction took a unique key meanwhile"
            )
        if code == _TOO_NEW:
            stored, oldest_reader, known = (error.diag.message_detail or "").split()
            return SchemaTooNewError(int(stored), int(oldest_reader), int(known))
        if code == _CANCELLED:
            return StorageUnavailableError(
                f"a statement took longer than {self._limit_s:g} s"
            )
        if code == _READ_ONLY:
            return TransientError(
                StorageUnavailableError("the server takes no writes at present"),
                is_away=True,
            )
        if is_unheard(error):
            return TransientError(StorageUnavailableError("nobody could be notified"))
        if code.startswith(_FAILING):
            return TransientError(
                StorageUnavailableError(f"the server is out of order ({code})")
            )
        # The server gives every refusal a code. Without one the driver says that a
        # connection has ended, mostly by an OperationalError; by the base class when
        # the server said goodbye before.
        lost = isinstance(error, psycopg2.InterfaceError) or (
            not code
            and (
                isinstance(error, psycopg2.OperationalError)
                or type(error) is psycopg2.DatabaseError
            )
        )
        if lost or code in _ENDED or code.startswith("08"):
            return TransientError(
                StorageUnavailableError("the connection to PostgreSQL was lost"),
                is_away=True,
            )
        return StorageError(f"PostgreSQL refused the statement ({code or 'no code'})")
