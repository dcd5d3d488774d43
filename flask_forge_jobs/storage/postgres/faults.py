"""What psycopg2's errors mean to a caller, and one that has a cure: no room to notify.

A session that listens and never ends its transaction keeps all notifications of the
server from being dropped. When the queue has no room, every commit that notifies fails.
So nothing is notified for a while; workers find new jobs by looking. When that session
is gone the queue stays full until somebody asks how full it is: only commits that
notify drop what has been heard, and they fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable

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
from flask_forge_jobs.model.seldom import Seldom
from flask_forge_jobs.storage.faults import Faults, TransientError

logger = get_logger(__name__)
_SELDOM = Seldom()

# How long nobody is told before it is tried again, which costs one call a repeat.
QUIET_S = 10.0
_MUCH = 0.5
_PROGRAM_LIMIT = "54000"
# Where the server's code says so; the message is in the server's language.
_SOURCE_FILE = "async.c"


def is_unheard(error: BaseException) -> bool:
    """Tell whether a commit failed for its notifications, of which none had room."""
    return (
        isinstance(error, psycopg2.Error)
        and error.pgcode == _PROGRAM_LIMIT
        and error.diag.source_file == _SOURCE_FILE
    )


def look_how_full(connection: Connection) -> float:
    """Let the server drop what all have heard; return how full its queue is, 0 to 1."""
    cursor = connection.cursor()
    cursor.execute("SELECT pg_notification_queue_usage()")
    (part,) = cursor.fetchone() or (1.0,)
    return float(part)


class Quiet:
    """Whether transactions of this process notify nobody at present.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0

    @property
    def is_on(self) -> bool:
        """Whether nobody is told."""
        return self._until > 0 and self._clock() < self._until

    def note_unheard(self, part: float) -> None:
        """Take in that a commit could not notify.

        Args:
            part: Of the queue that is in use since; little when it was worth a look.
        """
        if part < _MUCH:
            return
        self._until = self._clock() + QUIET_S
        if _SELDOM.is_time_for("full"):
            logger.warning(
                "PostgreSQL's queue of notifications is full, so workers look for new "
                "jobs by themselves%s",
                _SELDOM.more("full"),
            )


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
        if _is_lost(error):
            return TransientError(
                StorageUnavailableError("the connection to PostgreSQL was lost"),
                is_away=True,
            )
        if is_unheard(error):
            return TransientError(StorageUnavailableError("nobody could be notified"))
        return self._refusal(error, error.pgcode or "")

    def _refusal(self, error: psycopg2.Error, code: str) -> Exception:
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
        if code.startswith(_FAILING):
            return TransientError(
                StorageUnavailableError(f"the server is out of order ({code})")
            )
        return StorageError(f"PostgreSQL refused the statement ({code or 'no code'})")


def _is_lost(error: psycopg2.Error) -> bool:
    """Tell whether the connection has ended.

    The server gives every refusal a code. Without one the driver says that a connection
    has ended, mostly by an OperationalError; by the base class when the server said
    goodbye before.
    """
    code = error.pgcode
    if code:
        is_ended = code in _ENDED or code.startswith("08")
        return is_ended or isinstance(error, psycopg2.InterfaceError)
    return (
        isinstance(error, (psycopg2.InterfaceError, psycopg2.OperationalError))
        or type(error) is psycopg2.DatabaseError
    )
