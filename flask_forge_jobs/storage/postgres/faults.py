"""Translates psycopg2's errors, and copes with a full notification queue.

A session that listens and never ends its transaction keeps the server from dropping
notifications. Once the queue is full, every commit that notifies fails. So we stop
notifying for a while and workers poll for new jobs. The queue stays full even after
that session is gone, until somebody asks for its usage: otherwise only commits that
notify clean it up, and those fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import (
    DedupeKeyTakenError,
    SchemaTooNewError,
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.log_lines import LogThrottle
from flask_forge_jobs.storage.faults import Faults, TransientError

logger = get_logger(__name__)
_LOG_THROTTLE = LogThrottle()

# How long to notify nobody before the next try, which costs one call a retry.
QUIET_S = 10.0
_MUCH = 0.5
_PROGRAM_LIMIT = "54000"
# Identifies the error; its message is in the server's language.
_SOURCE_FILE = "async.c"


def is_unheard(error: BaseException) -> bool:
    """Return whether a commit failed because the notification queue was full."""
    return (
        isinstance(error, psycopg2.Error)
        and error.pgcode == _PROGRAM_LIMIT
        and error.diag.source_file == _SOURCE_FILE
    )


def look_how_full(connection: Connection) -> float:
    """Let the server clean up its notification queue; return its usage, 0 to 1."""
    cursor = connection.cursor()
    cursor.execute("SELECT pg_notification_queue_usage()")
    (part,) = cursor.fetchone() or (1.0,)
    return float(part)


class NotifyPause:
    """Whether transactions of this process currently notify nobody."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0

    @property
    def is_on(self) -> bool:
        """Whether to notify nobody."""
        return self._until > 0 and self._clock() < self._until

    def note_unheard(self, part: float) -> None:
        """Go quiet after a failed commit if this part of the queue is still in use."""
        if part < _MUCH:
            return
        self._until = self._clock() + QUIET_S
        if _LOG_THROTTLE.is_time_for("full"):
            logger.warning(
                "PostgreSQL's notification queue is full; workers poll for new jobs "
                "meanwhile%s",
                _LOG_THROTTLE.more("full"),
            )


_SERIALIZATION = frozenset({"40001", "40P01", "55P03"})
# These end the session; the last two because it was idle for too long.
_ENDED = frozenset({"57P01", "57P02", "57P03", "25P03", "57P05"})
# Out of disk, memory or connections; a system error.
_FAILING = ("53", "58")
# A standby, or a server that is set to read-only.
_READ_ONLY = "25006"
_CANCELLED = "57014"
_UNIQUE = "23505"
_TOO_NEW = "FJ001"  # raised by forge_check_version, with the versions as detail


def is_of_no_use(error: BaseException) -> bool:
    """Return whether the connection leads to a server that takes no writes."""
    return isinstance(error, psycopg2.Error) and error.pgcode == _READ_ONLY


@dataclass(eq=False)
class PostgresFaults(Faults):
    """Translates errors of psycopg2 and of a pool that could not connect."""

    limit_s: float

    def _meaning(self, error: BaseException) -> Exception | None:
        if isinstance(error, StorageUnavailableError):
            return TransientError(error, is_away=True)
        if not isinstance(error, psycopg2.Error):
            return None
        if _is_lost(error):
            return TransientError(
                StorageUnavailableError("the connection to PostgreSQL was lost"),
                is_away=True,
            )
        if is_unheard(error):
            return TransientError(
                StorageUnavailableError("the notification queue is full")
            )
        return self._refusal(error, error.pgcode or "")

    def _refusal(self, error: psycopg2.Error, code: str) -> Exception:
        if code in _SERIALIZATION:
            return TransientError(StorageBusyError("the transaction kept conflicting"))
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
                StorageUnavailableError(f"the server is out of order ({code})")
            )
        return StorageError(f"PostgreSQL refused the statement ({code or 'no code'})")


def _is_lost(error: psycopg2.Error) -> bool:
    """Return whether the connection has ended.

    Every error of the server has a code. Without one the driver reports a lost
    connection, by an OperationalError or, if the server said goodbye, the base class.
    """
    code = error.pgcode
    if code:
        is_ended = code in _ENDED or code.startswith("08")
        return is_ended or isinstance(error, psycopg2.InterfaceError)
    return (
        isinstance(error, (psycopg2.InterfaceError, psycopg2.OperationalError))
        or type(error) is psycopg2.DatabaseError
    )
