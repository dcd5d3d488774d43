"""The meaning of errors of PostgreSQL, of its driver and of our pool."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg2

from flask_forge_jobs.errors import (
    DedupeKeyTakenError,
    SchemaTooNewError,
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.database import ANOTHER_SCHEMA, Faults, TransientError

_SERIALIZATION = frozenset({"40001", "40P01"})
_LOCKED = "55P03"
# These end the session; the last three because it was idle, or in one transaction, for
# too long.
_ENDED = frozenset({"57P01", "57P02", "57P03", "25P03", "57P05", "25P04"})
# Out of disk, memory or connections; a system error.
_FAILING = ("53", "58")
# A standby, or a server that is set to read-only.
_READ_ONLY = "25006"
_CANCELLED = "57014"
_UNIQUE = "23505"
_UNDEFINED_COLUMN = "42703"
# An undefined table, function or schema.
_NOWHERE = frozenset({"42P01", "42883", "3F000"})
_FORBIDDEN = "42501"
_TOO_NEW = "FJ001"  # raised by forge_check_version, with the versions as detail
_PROGRAM_LIMIT = "54000"
# Identifies the error; its message is in the server's language.
_SOURCE_FILE = "async.c"
# Our own names, which an error quotes in every language.
_OUR_NAME = re.compile(r"\bforge_[a-z_]+")
_UNREACHED = (
    "; the search_path of the role must lead to the schema with the tables of the "
    "jobs, and the role needs USAGE on it"
)
_SHORT_OF_RIGHTS = (
    "; the role needs the rights that `GRANT` gives on the tables of the jobs"
)


class NoFurtherConnectionError(StorageUnavailableError):
    """The server refused a connection while it may well serve those we hold."""


class NotTriedError(StorageUnavailableError):
    """A call was refused before anything was sent, because others have failed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not tried, so nothing is stored: {reason}")
        self.reason = reason


def is_notify_queue_full(error: BaseException) -> bool:
    """Return whether a commit failed because the notification queue was full."""
    return (
        isinstance(error, psycopg2.Error)
        and error.pgcode == _PROGRAM_LIMIT
        and error.diag.source_file == _SOURCE_FILE
    )


def is_of_no_use(error: BaseException) -> bool:
    """Return whether the connection leads to a server that takes no writes."""
    return isinstance(error, psycopg2.Error) and error.pgcode == _READ_ONLY


@dataclass(eq=False)
class PostgresFaults(Faults):
    """Translates errors of psycopg2 and of a pool that could not connect."""

    limit_s: float

    def _meaning(self, error: BaseException) -> Exception | None:
        if isinstance(error, NotTriedError):
            return None
        if isinstance(error, StorageUnavailableError):
            is_away = not isinstance(error, NoFurtherConnectionError)
            return TransientError(error, is_away=is_away)
        if not isinstance(error, psycopg2.Error):
            return None
        if _is_lost(error):
            return TransientError(
                StorageUnavailableError("the connection to PostgreSQL was lost"),
                is_away=True,
            )
        if is_notify_queue_full(error):
            return TransientError(
                StorageUnavailableError("the notification queue is full")
            )
        return self._refusal(error, error.pgcode or "")

    def _refusal(self, error: psycopg2.Error, code: str) -> Exception:
        if code in _SERIALIZATION:
            return TransientError(
                StorageBusyError("the transaction conflicted with others repeatedly")
            )
        if code == _LOCKED:
            return TransientError(StorageBusyError("another session kept a lock"))
        if code == _UNIQUE:
            # Not transient: a retry would meet the same key.
            return DedupeKeyTakenError(
                "another transaction took a unique key meanwhile"
            )
        if code == _TOO_NEW:
            stored, oldest_reader, known = (error.diag.message_detail or "").split()
            return SchemaTooNewError(int(stored), int(oldest_reader), int(known))
        if code == _CANCELLED:
            return StorageUnavailableError(
                f"a statement took longer than {self.limit_s:g} s"
            )
        if code == _READ_ONLY:
            return TransientError(
                StorageUnavailableError("the server takes no writes"), is_away=True
            )
        if code.startswith(_FAILING):
            return TransientError(
                StorageUnavailableError(
                    f"PostgreSQL has a resource or system error ({code})"
                )
            )
        return StorageError(
            f"PostgreSQL refused the statement ({code or 'no code'})"
            f"{_named(error)}{_advice(code)}"
        )


def _named(error: psycopg2.Error) -> str:
    """Return the table or function of this package in an error, or no text."""
    name = _OUR_NAME.search(error.diag.message_primary or "")
    return f" about {name[0]}" if name else ""


def _advice(code: str) -> str:
    if code == _FORBIDDEN:
        return _SHORT_OF_RIGHTS
    if code in _NOWHERE:
        return _UNREACHED + ANOTHER_SCHEMA
    return ANOTHER_SCHEMA if code == _UNDEFINED_COLUMN else ""


def _is_lost(error: psycopg2.Error) -> bool:
    """Return whether the connection has ended.

    Every error of the server has a code. Without one the driver reports a lost
    connection, by an OperationalError or, if the server closed it in order, the base
    class.
    """
    code = error.pgcode
    if code:
        is_ended = code in _ENDED or code.startswith("08")
        return is_ended or isinstance(error, psycopg2.InterfaceError)
    return (
        isinstance(error, (psycopg2.InterfaceError, psycopg2.OperationalError))
        or type(error) is psycopg2.DatabaseError
    )
