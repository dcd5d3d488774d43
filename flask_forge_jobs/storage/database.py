"""The seam between the stores and the two databases.

A store names a statement and passes parameters; a dialect runs it and translates the
driver's errors. :meth:`Executor.write` owns the commit and repeats the unit after a
transient fault. So a unit must be safe to repeat: mint ids before, fence every change.

For the time limit of several calls see :mod:`.deadlines`.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    SchemaTooNewError,
    StorageBusyError,
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)

T = TypeVar("T")
Row = tuple[Any, ...]
Parameter = str | int | float | None
Values = Mapping[str, Parameter]
Query = tuple[str, Values]
WakeCallback = Callable[[str | None], None]
Apart = bool | Literal["expected"]  # see Executor.read
# Errors that say nothing about the rows that were to be written.
NO_FAULT_OF_ROWS = StorageUnavailableError, StorageBusyError, SchemaTooNewError


class SchemaVersions(NamedTuple):
    """The schema version of a database, and the versions this code works with."""

    stored: int
    """The version of the database; 0 without a schema."""
    known: int
    """The newest version that this code knows."""
    oldest_reader: int
    """The lowest version whose code may work on the database."""

    @classmethod
    def of(cls, applied: Sequence[Row], known: int) -> Self:
        """Return the versions for (version, oldest reader) rows, the newest last."""
        stored, oldest_reader = applied[-1] if applied else (0, 0)
        return cls(stored, known, oldest_reader)

    def require_readable(self) -> None:
        """Raise SchemaTooNewError if this code may not work on the schema."""
        if self.oldest_reader > self.known:
            raise SchemaTooNewError(self.stored, self.oldest_reader, self.known)


class Transaction(Protocol):
    """One open transaction; ``attempt`` is the number of the try, from 0."""

    attempt: int

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run a statement and return its rows."""

    def run(self, name: str, /, **parameters: Parameter) -> int:
        """Run a statement and return how many rows it changed."""

    def defer(self, name: str, /, **parameters: Parameter) -> None:
        """Run a statement with the next one and ignore its result."""

    def expect(self, name: str, /, **parameters: Parameter) -> None:
        """Read a query with the next one; :meth:`all` of the same returns its rows."""

    def all_in_turn(self, *statements: Query) -> list[list[Row]]:
        """Run statements in turn, in one round trip; return the rows of each."""

    def copy_rows(self, name: str, rows: Iterable[Sequence[Parameter]], /) -> None:
        """Insert rows in bulk, by a statement that takes a row's values in order."""

    def brief_waits(self) -> AbstractContextManager[None]:
        """Raise TransientError when another transaction has a lock for a while."""

    def all_noted(
        self, name: str, values: Values, entry: Values, *behind: Query
    ) -> list[list[Row]]:
        """As :meth:`all_in_turn`; stores an entry if the first returns rows."""

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue after the commit."""


class Listener(Protocol):
    """A subscription to wake-ups."""

    def is_pushing(self) -> bool:
        """Whether wake-ups from other processes arrive without polling."""

    def notify(self, name: str) -> None:
        """Call the callbacks of other processes with a name."""

    def stop(self) -> None:
        """End the subscription."""


class Executor(Protocol):
    """The interface of a database for stores."""

    backend: str
    """``sqlite`` or ``postgres``."""

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        """Run a unit of work in one transaction and commit it.

        Like every method that writes, it checks in the transaction that the schema is
        not too new for this code.

        Args:
            work: Called again from the start after a transient fault, with a higher
                :attr:`Transaction.attempt`.
            urgent: May use the connection that is reserved for heartbeats.

        Raises:
            SchemaTooNewError: A newer release has migrated the database; nothing is
                stored.
            StorageBusyError: Locks or conflicts outlasted every retry.
            StorageUnavailableError: The database could not be reached.
        """

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one writing statement as a transaction of its own; return its rows.

        One round trip on PostgreSQL. Raises the errors of :meth:`write`.
        """

    def join(self, connection: object, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work inside the open transaction of a caller's connection.

        The caller commits or rolls back. The unit runs once; if it raises, only its own
        changes are undone.

        Args:
            connection: Our driver's connection to our database, or SQLAlchemy's; see
                :func:`.caller_transaction.look_below`. A transaction begins if none is
                open.
            work: Called with the transaction.

        Raises:
            InvalidInputError: The connection is of another driver or to another
                database, closed, or in autocommit mode without a transaction.
            StorageBusyError: A lock or a conflict; the caller has to retry its whole
                transaction.
            SchemaTooNewError: As for :meth:`write`.
            StorageError: The transaction has failed and would store nothing.
        """

    def read(self, work: Callable[[Transaction], T], *, apart: Apart = False) -> T:
        """Run reads against one snapshot; raises the errors of :meth:`write`.

        Args:
            work: May be called again after a transient fault.
            apart: Whether each statement may have a snapshot of its own. Then it takes
                one round trip on PostgreSQL, and none is left for the end.
                ``expected``: all are, by the first, and share its snapshot.
        """

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one reading statement on its own and return its rows.

        One round trip on PostgreSQL, without the server's time limit: for quick reads
        only. Raises the errors of :meth:`write`.
        """

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue after a :meth:`execute` that added to it."""

    def listen(self, callback: WakeCallback) -> Listener:
        """Call ``callback`` with a queue's name at each wake-up.

        It gets None if anything may have changed. It runs on a thread of the database
        and must return quickly.
        """


class Database(Executor, Protocol):
    """The methods that a dialect implements."""

    known_version: int
    """The newest schema version that this code knows."""

    def open(self) -> None:
        """Connect and bring the schema up to date; the first use does so as well.

        Raises:
            StorageUnavailableError: The database could not be reached.
            StorageCorruptError: The file is not a sound database.
            MigrationError: The schema does not fit this version of the package.
        """

    def pipeline(self, work: Callable[[Transaction], T]) -> T:
        """Run :meth:`Transaction.defer` calls that end with one :meth:`.all`.

        One round trip on PostgreSQL. Retries and raises as :meth:`write` does.
        """

    def begin(self, attempt: int) -> AbstractContextManager[Transaction]:
        """Open a transaction for a block and commit at its end; never retries.

        An error in the block rolls it back; the driver's errors become ours.

        Raises:
            TransientError: A fault after which the caller may retry.
            StorageError: As for :meth:`write`.
        """

    @property
    def turn(self) -> AbstractContextManager[float]:
        """A block that waits for the database, or for another thread that does.

        Counts a request as one call does, and yields how long that waits at most.
        Raises StorageUnavailableError in place of a call that would not be tried.
        """

    def takes_writes(self) -> bool:
        """Return whether the database takes writes, as a standby does not.

        On PostgreSQL a commit has just come back. Takes about a second at most.

        Raises:
            StorageError: It does not answer.
        """

    def schema_versions(self) -> SchemaVersions | None:
        """Return the versions of the schema without changing it.

        None if there is no database or no schema of ours.
        """

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return facts about the live connection, no address or user; driver last."""

    @property
    def file(self) -> Path | None:
        """The database's file; None in memory or where it may be on another host."""

    def log_bytes(self) -> int:
        """Return the size of the write-ahead log beside the file; 0 without a file."""

    def close(self) -> None:
        """Close the connections of this process."""


_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode_rows(rows: Iterable[Mapping[str, Parameter] | Sequence[Parameter]]) -> str:
    """Return rows as the JSON parameter that a ``rows`` marker reads, or values."""
    return _encode(list(rows))


def encode_names(column: str, values: Iterable[str]) -> str:
    """Return texts, most often none, as the JSON parameter of a ``rows`` marker."""
    return encode_rows({column: value} for value in values) if values else "[]"


def in_queues(names: Collection[str] | None) -> dict[str, Parameter]:
    """Return the parameters of a statement for some queues; None means all."""
    return {"any_queue": names is None, "queues": encode_names("name", names or ())}


class ChoiceLog:
    """Logs once which database was chosen; a forked child does not repeat it."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._once = threading.Lock()

    def log_once(self) -> None:
        """Log the choice, unless that was done."""
        settings = self._settings
        if settings.source is not None and self._once.acquire(blocking=False):
            how = f", named by {settings.source}"
            if settings.is_unnamed:
                how = " (default; no setting names one)"
            logger.info("database %s%s", settings.dsn_for_display, how)


class StorageMovedError(StorageUnavailableError):
    """Only another process could reach the database: our path leads elsewhere now."""


# The reference's schedule; 4 tries in all.
RETRY_DELAYS_S: Sequence[float] = (0.1, 0.3, 1.0)


class TransientError(Exception):
    """A fault after which the same unit of work may succeed.

    Args:
        surfaced: The caller's error if every retry fails.
        is_away: Whether the server does not answer or takes no writes.
    """

    def __init__(self, surfaced: StorageError, *, is_away: bool = False) -> None:
        super().__init__(str(surfaced))
        self.surfaced = surfaced
        self.is_away = is_away


def run_with_retries(
    work: Callable[[int], T],
    wait: Callable[[float], object],
    delays_s: Sequence[float] = RETRY_DELAYS_S,
) -> T:
    """Call ``work`` with the number of the try, from 0, until it succeeds.

    Raises:
        StorageError: The error of the last :class:`TransientError`, or of an earlier
            one whose outcome is still unknown.
    """
    unknown: StorageOutcomeUnknownError | None = None
    for attempt, delay_s in enumerate((*delays_s, None)):
        try:
            return work(attempt)
        except TransientError as fault:
            if isinstance(fault.surfaced, StorageOutcomeUnknownError):
                unknown = fault.surfaced
            if delay_s is None:
                raise (unknown or fault.surfaced) from fault.__cause__
            # Debug only: every call of every thread logs it while a server is away.
            logger.debug("storage fault, retrying in %s s: %s", delay_s, fault)
            wait(delay_s)
        except (StorageUnavailableError, StorageBusyError) as error:
            if unknown is None:
                raise
            raise unknown from error
    raise AssertionError("the last try returns or raises")


ANOTHER_SCHEMA = (
    "; if code from before the release made the tables, flask forge-jobs db reset "
    "makes them anew, without their jobs"
)
"""What to do if a statement names what the schema lacks although its version fits."""


@dataclass(eq=False)
class Faults(ABC):
    """Translates driver errors in ``with`` blocks, also nested or in several threads.

    Args:
        is_retried: Whether the caller retries after a :class:`TransientError`.
    """

    is_retried: bool = field(kw_only=True)

    def __enter__(self) -> None:  # noqa: B027  # not meant to be overridden
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        is_ours = isinstance(error, TransientError)
        fault = error if is_ours else self._meaning(error)
        if isinstance(fault, TransientError) and not self.is_retried:
            fault = fault.surfaced
        if fault is not None and fault is not error:
            # One of our errors already has its cause.
            cause = error.__cause__ if isinstance(error, StorageError) else error
            raise fault from cause

    @abstractmethod
    def _meaning(self, error: BaseException) -> Exception | None:
        """Return the error to raise instead, or None to leave it alone."""
