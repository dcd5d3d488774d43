"""PostgreSQL through psycopg2.

Connections are in autocommit mode and this module writes ``BEGIN`` and ``COMMIT``
itself, so that the ``BEGIN``, and every statement whose result nobody reads, travels
with the next statement in one round trip. Nothing depends on session state, so a
transaction pooler in front of the server changes nothing. The server's clock is used in
the statements (D41).
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    DedupeKeyTakenError,
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.catalogue import load_migrations
from flask_forge_jobs.storage.database import Listener, Parameter, Row, WakeCallback
from flask_forge_jobs.storage.migrate import apply_migrations
from flask_forge_jobs.storage.postgres_listener import PostgresListener
from flask_forge_jobs.storage.postgres_pool import ConnectionPool, connect
from flask_forge_jobs.storage.postgres_schema import PostgresSchema
from flask_forge_jobs.storage.postgres_transaction import PostgresTransaction
from flask_forge_jobs.storage.retrying import TransientError, run_with_retries

T = TypeVar("T")

_SERIALIZATION = frozenset({"40001", "40P01", "55P03"})
_SHUTDOWN = frozenset({"57P01", "57P02", "57P03"})
_CANCELLED = "57014"
_UNIQUE = "23505"
# Rows that arrive as JSON are guessed to be a hundred, and on a small or a freshly
# filled table that guess makes the planner read all of it; a LIMIT that is seldom
# reached has the same effect. Every statement of ours is served by an index, so say so,
# and none is worth the start of parallel workers. It ends with the transaction.
_PLAN_BY_INDEX = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; "
    "SET LOCAL enable_mergejoin = off; SET LOCAL max_parallel_workers_per_gather = 0"
)
# Time beyond the server's own limit before the socket is cut.
_DEADLINE_SLACK_S = 2.0

# Handles inherited by a fork. Referenced for ever: closing one would end the parent's.
_inherited: list[object] = []


class _ProcessState:
    """What one process has opened; a child starts with a new one."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pid = os.getpid()
        self.pool = pool
        self.is_open = False
        self.callbacks: list[WakeCallback] = []


class PostgresDatabase:
    """One PostgreSQL database as a Database.

    Args:
        settings: Where it is and how it is reached.
        may_migrate: Whether opening may change the schema.
        wait: Waits for some seconds between retries.
        random: Returns a number in [0, 1); spreads the age of connections.
    """

    backend = "postgres"

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        may_migrate: bool = True,
        wait: Callable[[float], object] = time.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._may_migrate = may_migrate
        self._wait = wait
        self._random = random
        limit_ms = int(settings.statement_timeout_s * 1000)
        # Compiling a statement of ours takes longer than running it.
        limit = f"SET LOCAL statement_timeout = {limit_ms};\nSET LOCAL jit = off"
        self._begin_write = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED;\n{limit};\n{_PLAN_BY_INDEX}"
        )
        self._begin_read = (
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
            f"{limit};\n{_PLAN_BY_INDEX}"
        )
        self._limit_s = settings.statement_timeout_s + _DEADLINE_SLACK_S
        self._current = self._new_state()

    def _new_state(self) -> _ProcessState:
        return _ProcessState(
            ConnectionPool(
                self._connect,
                size=self._settings.pool_size,
                wait_s=self._settings.statement_timeout_s,
                random=self._random,
            )
        )

    @property
    def _state(self) -> _ProcessState:
        if self._current.pid != os.getpid():
            _inherited.append(self._current)
            self._current = self._new_state()
        return self._current

    def _connect(self) -> Connection:
        return connect(self._settings)

    def open(self) -> None:
        """Connect and bring the schema up to date."""
        state = self._state
        if state.is_open:
            return
        run_with_retries(lambda _: self._open(state), self._wait)

    def _open(self, state: _ProcessState) -> None:
        with (
            state.pool.connection() as connection,
            self._translated(is_retried=True),
        ):
            apply_migrations(
                PostgresSchema(connection),
                load_migrations("postgres"),
                may_change=self._may_migrate,
            )
        state.is_open = True

    @contextlib.contextmanager
    def _translated(self, *, is_retried: bool = False) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            fault = self._translate(error)
            if isinstance(fault, TransientError) and not is_retried:
                fault = fault.surfaced
            raise fault from error

    def _translate(self, error: psycopg2.Error) -> Exception:
        code = error.pgcode or ""
        if code in _SERIALIZATION:
            return TransientError(StorageBusyError("the transaction kept conflicting"))
        if code == _UNIQUE:
            # Not transient: the same unit would meet the same key again (D31).
            return DedupeKeyTakenError(
                "another transaction took a unique key meanwhile"
            )
        if code == _CANCELLED:
            limit_s = self._settings.statement_timeout_s
            return StorageUnavailableError(
                f"a statement took longer than {limit_s:g} s"
            )
        lost = isinstance(error, psycopg2.InterfaceError) or (
            isinstance(error, psycopg2.OperationalError) and not code
        )
        if lost or code in _SHUTDOWN or code.startswith("08"):
            return TransientError(
                StorageUnavailableError("the connection to PostgreSQL was lost")
            )
        return StorageError(f"PostgreSQL refused the statement ({code or 'no code'})")

    # -- transactions --------------------------------------------------------------

    def write(
        self, work: Callable[[PostgresTransaction], T], *, urgent: bool = False
    ) -> T:
        """Run a unit of work in one transaction and commit it."""
        self.open()

        def unit(attempt: int) -> T:
            with self._transaction(self._begin_write, attempt, urgent=urgent) as opened:
                result = work(opened)
            for queue_name in opened.woken:
                self._wake_here(queue_name)
            return result

        return run_with_retries(unit, self._wait)

    def single(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one writing statement as a transaction of its own."""
        self.open()

        def unit(attempt: int) -> list[Row]:
            with self._transaction("", attempt) as opened:
                return opened.all(name, **parameters)

        return run_with_retries(unit, self._wait)

    def read(self, work: Callable[[PostgresTransaction], T]) -> T:
        """Run reads against one snapshot."""
        self.open()

        def unit(attempt: int) -> T:
            with self._transaction(self._begin_read, attempt) as opened:
                return work(opened)

        return run_with_retries(unit, self._wait)

    @contextlib.contextmanager
    def _transaction(
        self, begin: str, attempt: int, *, urgent: bool = False
    ) -> Iterator[PostgresTransaction]:
        pool = self._state.pool
        try:
            borrowed = contextlib.ExitStack()
            connection = borrowed.enter_context(pool.connection(urgent=urgent))
        except StorageUnavailableError as error:
            raise TransientError(error) from error.__cause__
        with (
            borrowed,
            self._translated(is_retried=True),
            pool.watchdog.watching(connection, self._limit_s),
        ):
            opened = PostgresTransaction(connection, begin, attempt)
            try:
                yield opened
                if begin:
                    opened.end()
            except BaseException:
                opened.undo()
                raise

    # -- wake-ups ------------------------------------------------------------------

    def wake(self, queue_name: str) -> None:
        """Wake this process's workers; the statement has told the others."""
        self._wake_here(queue_name)

    def _wake_here(self, queue_name: str) -> None:
        for callback in list(self._state.callbacks):
            callback(queue_name)

    def listen(self, callback: WakeCallback) -> Listener:
        """Call ``callback`` at each wake-up until the listener is stopped."""
        self.open()
        callbacks = self._state.callbacks
        callbacks.append(callback)
        settings = self._settings
        if settings.listen_url:
            settings = DatabaseSettings.from_url(settings.listen_url, tuning=settings)
        return PostgresListener(
            callback,
            forget=lambda: callbacks.remove(callback),
            connect=lambda: connect(settings),
            is_own=lambda pid: pid in self._state.pool.backend_pids,
        )

    # -- facts ---------------------------------------------------------------------

    def schema_versions(self) -> tuple[int, int] | None:
        """Return (stored, newest known), or None when there is no schema of ours."""
        newest = load_migrations("postgres")[-1].version
        with self._state.pool.connection() as connection, self._translated():
            applied = PostgresSchema(connection).applied()
        return (applied[-1][0], newest) if applied else None

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return what the live connection says of itself."""
        self.open()
        with self._state.pool.connection() as connection, self._translated():
            version = connection.info.parameter_status("server_version") or "unknown"
        return (
            ("server_version", version),
            ("max_connections", str(self._settings.pool_size)),
            ("driver", _driver()),
        )

    @property
    def directory(self) -> None:
        """None: the server keeps its files to itself."""
        return

    def log_bytes(self) -> int:
        """Return 0: the log is the server's."""
        return 0

    def close(self) -> None:
        """Close the idle connections of this process."""
        self._state.pool.close()
        self._current = self._new_state()


def _driver() -> str:
    # The type stubs do not know the version.
    release: str = vars(psycopg2)["__version__"]
    return f"psycopg2 {release.split(maxsplit=1)[0]}"
