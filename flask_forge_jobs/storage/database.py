"""The seam between the stores and the two databases.

A store names a statement and passes parameters; a dialect runs it. Driver errors become
ours at this line and nowhere else. Everything that changes data goes through
:meth:`Executor.write`, which owns the commit and repeats the whole unit after a
transient fault, so a unit of work must be safe to repeat: ids are minted before it,
and every change it makes is fenced.

A call has limits of its own, which add up: the wait for a connection, for the server,
for the next try. Whoever has less time than that says so around its calls, by
:func:`within`.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import SchemaTooNewError

logger = logging.getLogger(__name__)
_local = threading.local()

T = TypeVar("T")
Row = tuple[Any, ...]
Parameter = str | int | float | None
WakeCallback = Callable[[str | None], None]


class SchemaVersions(NamedTuple):
    """What schema a database has, and what this code makes of it."""

    stored: int
    """The version of the database; 0 when it has none."""
    known: int
    """The newest version that this code knows."""
    oldest_reader: int
    """The lowest version whose code may work on the database."""

    @classmethod
    def of(cls, applied: Sequence[Row], known: int) -> Self:
        """Return what applied steps are to code that knows a version.

        Args:
            applied: Version and oldest reader of each step, the newest last; the newest
                one alone will do.
            known: The newest version that the code knows.
        """
        stored, oldest_reader = applied[-1] if applied else (0, 0)
        return cls(stored, known, oldest_reader)

    def require_readable(self) -> None:
        """Refuse a schema that is too new; one that has only been added to is not.

        Raises:
            SchemaTooNewError: This code may not work on the schema.
        """
        if self.oldest_reader > self.known:
            raise SchemaTooNewError(self.stored, self.oldest_reader, self.known)


class Transaction(Protocol):
    """One open transaction."""

    attempt: int
    """0 on the first try, counted up when the unit is repeated."""

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run a statement and return its rows."""

    def run(self, name: str, /, **parameters: Parameter) -> int:
        """Run a statement and return how many rows it changed."""

    def defer(self, name: str, /, **parameters: Parameter) -> None:
        """Run a statement whose result nobody reads, together with the next one."""

    def copy_rows(self, name: str, rows: Iterable[Sequence[Parameter]], /) -> None:
        """Add rows in the fastest way there is.

        Args:
            name: A statement that takes a row's values in order.
            rows: The rows.
        """

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue once this transaction has committed."""


class Listener(Protocol):
    """A subscription to wake-ups."""

    def is_pushing(self) -> bool:
        """Whether wake-ups from other processes arrive without polling."""

    def tell(self, name: str) -> None:
        """Call the callbacks of other processes with a name.

        Raises:
            StorageError: The database cannot be told.
        """

    def stop(self) -> None:
        """End the subscription."""


class Executor(Protocol):
    """What a store asks of its database."""

    backend: str
    """``sqlite`` or ``postgres``."""

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        """Run a unit of work in one transaction and commit it.

        The transaction itself makes sure that this code may still work on the schema,
        as does that of every other verb that changes something.

        Args:
            work: Called with the transaction; again from the start after a transient
                fault, with :attr:`Transaction.attempt` counted up.
            urgent: May use the connection that is kept for heartbeats.

        Raises:
            SchemaTooNewError: A newer package has migrated the database beyond this
                code; nothing is stored.
            StorageBusyError: Locks or conflicts outlasted every retry.
            StorageUnavailableError: The database could not be reached.
        """

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one writing statement as a transaction of its own and return its rows.

        On PostgreSQL this is one round trip. Errors as for :meth:`write`.
        """

    def join(self, connection: object, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work inside the open transaction of a caller's connection.

        The caller commits; a rollback takes the work with it. The unit is run once, and
        undone as a whole when it raises, with the caller's own work left as it is.

        Args:
            connection: Of our driver and to our database, or what SQLAlchemy made of
                one; see :func:`.caller_transaction.look_below`. A transaction begins
                if none is open.
            work: Called with the transaction.

        Raises:
            InvalidInputError: The connection is of another driver or to another
                database, closed, or in autocommit mode without a transaction.
            StorageBusyError: A lock or a conflict; the caller's transaction has to be
                tried again as a whole.
            SchemaTooNewError: As for :meth:`write`.
            StorageError: The transaction has failed and would store nothing.
        """

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run reads against one snapshot; errors as for :meth:`write`."""

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one reading statement on its own and return its rows.

        On PostgreSQL this is one round trip, without the server's own time limit, so it
        is for what is quick. Errors as for :meth:`write`.
        """

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue after a :meth:`execute` that added to it."""

    def listen(self, callback: WakeCallback) -> Listener:
        """Call ``callback`` with a queue's name at each wake-up.

        The callback runs on a thread of the database's own and must return quickly;
        None means that something may have changed and nobody knows what.
        """


class Database(Executor, Protocol):
    """What a dialect must do."""

    known_version: int
    """The newest schema version that this code knows."""

    def open(self) -> None:
        """Connect and bring the schema up to date; called by the first use as well.

        Raises:
            StorageUnavailableError: The database could not be reached.
            StorageCorruptError: The file is not a sound database.
            MigrationError: The schema does not fit this version of the package.
        """

    def pipeline(self, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work that reads the rows of its last statement only.

        On PostgreSQL this is one round trip: the unit sends its statements by
        :meth:`Transaction.defer` and ends with one :meth:`Transaction.all`. Errors and
        repetitions as for :meth:`write`. For :class:`.Unit`.
        """

    def begin(self, attempt: int) -> AbstractContextManager[Transaction]:
        """Open a transaction for a block and commit at its end; for :class:`.Unit`.

        What the block raises rolls it back. The driver's errors leave the block as
        ours; nothing is repeated.

        Args:
            attempt: Number of the try, from 0.

        Raises:
            TransientError: A fault after which all of it may be tried again.
            StorageError: As for :meth:`write`.
        """

    def schema_versions(self) -> SchemaVersions | None:
        """Return the versions of the schema, changing nothing.

        None when the database does not exist or holds no schema of ours.
        """

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return facts about the live connection, never an address or a user.

        The driver comes last.
        """

    @property
    def directory(self) -> Path | None:
        """Where the database's files are, if they are on this machine for sure."""

    def log_bytes(self) -> int:
        """Return the size of the write-ahead log beside the file; 0 without a file."""

    def close(self) -> None:
        """Close what this process opened."""


def encode_rows(rows: Iterable[Mapping[str, Parameter]]) -> str:
    """Return rows as the JSON parameter that a ``rows`` marker reads."""
    return json.dumps(list(rows), separators=(",", ":"))


def encode_names(column: str, values: Iterable[str]) -> str:
    """Return a column of texts as the JSON parameter that a ``rows`` marker reads."""
    return encode_rows({column: value} for value in values)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let everything that this thread asks meanwhile end within so many seconds."""
    before = getattr(_local, "ends_at", None)
    ends_at = time.monotonic() + seconds
    _local.ends_at = ends_at if before is None else min(before, ends_at)
    try:
        yield
    finally:
        _local.ends_at = before


def left_s(limit_s: float) -> float:
    """Return ``limit_s``, or the seconds that are left if those are fewer."""
    ends_at: float | None = getattr(_local, "ends_at", None)
    if ends_at is None:
        return limit_s
    return max(min(limit_s, ends_at - time.monotonic()), 0.0)


class Choice:
    """The choice of a database, which is logged once.

    A process that is forked after it was logged does not repeat it.

    Args:
        settings: The database; one that no setting named is not logged.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._untold = threading.Lock()

    def tell(self) -> None:
        """Log it, unless that was done."""
        if self._settings.source is not None and self._untold.acquire(blocking=False):
            logger.info(
                "database %s, named by %s",
                self._settings.dsn_for_display,
                "no setting" if self._settings.is_unnamed else self._settings.source,
            )
