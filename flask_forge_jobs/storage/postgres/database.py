"""PostgreSQL through psycopg2.

Connections are in autocommit mode and this module writes ``BEGIN`` and ``COMMIT``
itself. So ``BEGIN``, and every statement without a result, shares a round trip with the
next statement. Only unpooled sessions are configured, so a transaction pooler in front
of the server works too. Statements use the server's clock, so hosts need not agree
about the time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import methodcaller
from typing import TypeVar

from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.forks import PID, PerProcess, own_pid
from flask_forge_jobs.randomness import fraction
from flask_forge_jobs.storage.caller_transaction import look_below
from flask_forge_jobs.storage.catalogue import load_migrations
from flask_forge_jobs.storage.database import (
    Apart,
    ChoiceLog,
    Listener,
    Parameter,
    Row,
    SchemaVersions,
    TransientError,
    WakeCallback,
    run_with_retries,
)
from flask_forge_jobs.storage.deadlines import left_s, within
from flask_forge_jobs.storage.migrate import apply_migrations, is_behind
from flask_forge_jobs.storage.postgres.connection import (
    OpeningSql,
    Session,
    SessionSettings,
    connect,
    driver,
    require_utf8,
    warn_of_unchecked_server,
)
from flask_forge_jobs.storage.postgres.faults import PostgresFaults
from flask_forge_jobs.storage.postgres.join import run_joined
from flask_forge_jobs.storage.postgres.listener import PostgresListener
from flask_forge_jobs.storage.postgres.other_drivers import joinable
from flask_forge_jobs.storage.postgres.pool import ConnectionPool
from flask_forge_jobs.storage.postgres.process import (
    Availability,
    PostgresProcess,
    TransactionBlock,
    require_working,
    try_commit,
)
from flask_forge_jobs.storage.postgres.request_gate import SILENCE_S
from flask_forge_jobs.storage.postgres.server_order import ServerOrder
from flask_forge_jobs.storage.postgres.transaction import (
    PostgresSchema,
    PostgresTransaction,
    version_check,
)
from flask_forge_jobs.storage.postgres.trial import FRESH_S

T = TypeVar("T")

# Time beyond the server's own limit before the watchdog cuts the socket.
_DEADLINE_SLACK_S = 2.0
_PROBE_LIMIT_S = 2.0
_TRIAL_LIMIT_S = 1.0  # of a question for readiness

# Connections inherited by a fork. Never released: closing one would end the parent's.
_inherited: list[object] = []


class PostgresDatabase(PerProcess):
    """One PostgreSQL database as a Database."""

    backend = "postgres"

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        may_migrate: bool = True,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._settings = settings
        self._choice = ChoiceLog(settings)
        self._order = ServerOrder()
        self._may_migrate = may_migrate
        self._steps = load_migrations("postgres")
        self.known_version = self._steps[-1].version
        check_version = version_check(self.known_version)
        self._wait = wait
        self._limit_s = settings.statement_timeout_s + _DEADLINE_SLACK_S
        # By the time the server ends an idle transaction, our watchdog has cut it.
        self._session_settings = openings = SessionSettings(
            int(settings.statement_timeout_s * 1000), int(self._limit_s * 1000)
        )
        self._begin_write = openings.write.then(check_version)
        self._begin_checked = replace(openings.alone, check=check_version)
        self._retried = PostgresFaults(settings.statement_timeout_s, is_retried=True)
        self._surfaced = PostgresFaults(settings.statement_timeout_s, is_retried=False)
        self._current, self._pid = self._new_process(), own_pid()

    def _make_pool(self, availability: Availability) -> ConnectionPool:
        return ConnectionPool(
            self._connect,
            size=self._settings.pool_size,
            wait_s=self._settings.statement_timeout_s,
            random=fraction,
            prepare=self._prepare,
            check=availability.check,
        )

    def _new_process(self) -> PostgresProcess:
        return PostgresProcess(
            self._make_pool,
            self._probe,
            self._try_commit,
            self._retried,
            known_version=self.known_version,
            limit_s=self._limit_s,
        )

    def _begin(self) -> None:
        _inherited.append(self._current)
        self._current = self._new_process()

    @property
    def _state(self) -> PostgresProcess:
        self.stay_own()
        return self._current

    def _opened(self) -> PostgresProcess:
        state = self._current
        if not state.is_open or self._pid != PID[0]:
            self.open()
            state = self._current
        return state

    def _connect(self) -> Session:
        return connect(self._settings, self._order)

    def _prepare(self, session: Session) -> None:
        require_utf8(session, self._settings)
        self._session_settings.configure(session)

    def open(self) -> None:
        """Connect and bring the schema up to date."""
        state = self._state
        if state.is_open:
            return
        self._choice.log_once()
        run_with_retries(lambda attempt: self._open(state, attempt), self._wait)

    def _open(self, state: PostgresProcess, attempt: int) -> None:
        state.availability.check()
        has_turn = state.gate.enter()
        since = time.monotonic()
        try:
            # Outside self._retried: a failure to connect at the start is final.
            with state.pool.connection() as connection, self._retried:
                with state.pool.watchdog.watching(connection, left_s(self._limit_s)):
                    behind = is_behind(PostgresSchema(connection), self._steps)
                if behind:
                    self._migrate()
                warn_of_unchecked_server(connection)
                self._learn_identity(state, connection)
        except TransientError as fault:
            state.availability.take_in(fault, attempt, since)
            raise
        except StorageUnavailableError as error:
            state.availability.note_late(error, since)
            raise
        finally:
            if has_turn:
                state.gate.leave()
        state.is_open = True

    def _learn_identity(self, state: PostgresProcess, connection: Connection) -> None:
        """Note whose tables these are, to know them on callers' connections."""
        look = PostgresTransaction(connection, "", self.known_version)
        state.tables = look.all("whose_tables")[0]
        state.cluster = look.all("which_cluster")

    def _migrate(self) -> None:
        # A session of its own has no statement time-out.
        with contextlib.closing(self._connect()) as connection:
            schema = PostgresSchema(connection)
            apply_migrations(schema, self._steps, may_change=self._may_migrate)

    # -- transactions --------------------------------------------------------------

    def write(
        self, work: Callable[[PostgresTransaction], T], *, urgent: bool = False
    ) -> T:
        """Run a unit of work in one transaction and commit it."""
        return self._run(self._begin_write, work, urgent=urgent)

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one writing statement as a transaction of its own."""
        return self._run(self._begin_checked, methodcaller("all", name, **parameters))

    def pipeline(self, work: Callable[[PostgresTransaction], T]) -> T:
        """Run a unit of work whose statements travel in one message."""
        return self._run(self._begin_checked, work)

    def read(
        self, work: Callable[[PostgresTransaction], T], *, apart: Apart = False
    ) -> T:
        """Run reads against one snapshot, or each against its own."""
        settings = self._session_settings
        return self._run(settings.read_apart if apart else settings.read, work)

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one reading statement on its own."""
        work = methodcaller("all", name, **parameters)
        return self._run(self._session_settings.look, work)

    def begin(self, attempt: int) -> TransactionBlock:
        """Open a transaction for a block and commit at its end."""
        return TransactionBlock(self._opened(), self._begin_write, attempt)

    def _run(
        self,
        opening: OpeningSql,
        work: Callable[[PostgresTransaction], T],
        *,
        urgent: bool = False,
    ) -> T:
        def unit(attempt: int) -> T:
            process = self._opened()
            block = TransactionBlock(process, opening, attempt, urgent=urgent)
            try:
                with block as opened:
                    return work(opened)
            except BaseException:
                block.abandon()
                raise

        return run_with_retries(unit, self._wait)

    def join(self, connection: object, work: Callable[[PostgresTransaction], T]) -> T:
        """Run a unit of work inside the caller's transaction."""
        begin = joinable(look_below(connection))
        self.open()
        begin = partial(begin, self.known_version, is_quiet=self._state.quiet.is_on)
        with self._surfaced:
            return run_joined(begin, self._is_ours, work, self._wait)

    def _is_ours(self, joined: PostgresTransaction, tables: Row) -> bool:
        """Return whether a connection with this ``whose_tables`` sees our tables."""
        state = self._state
        if state.tables != tables:
            # The cached row may be from before the server's last start.
            try:
                with within(_PROBE_LIMIT_S):
                    state.tables = self.read_one("whose_tables")[0]
            except StorageUnavailableError:
                if not state.tables or state.tables[1:] != tables[1:]:
                    raise
                # The caller may have reached the server that takes over before us.
                return state.cluster == joined.all("which_cluster")
        return state.tables == tables

    def _probe(self, writes: bool) -> None:  # noqa: FBT001  # its only argument
        """Raise a StorageError while the server is down; see :class:`.Availability`."""
        # If the server is full, our connections may fill it.
        self._state.pool.discard_idle()
        with (
            within(self._limit_s if writes else _PROBE_LIMIT_S),
            self._surfaced,
            contextlib.closing(self._connect()) as connection,
            self._state.pool.watchdog.watching(connection, left_s(self._limit_s)),
        ):
            transaction = PostgresTransaction(
                connection,
                self._session_settings.look.of(connection),
                self.known_version,
            )
            try:
                require_working(connection, transaction, writes=writes)
            except StorageUnavailableError:
                self._order.forget()  # another host may take writes
                raise

    def _try_commit(self) -> bool:
        """Commit nothing; return False if the server takes no writes."""
        process, since = self._opened(), time.monotonic()
        try:
            # Twice: the idle connection may have been lost long ago.
            return run_with_retries(
                lambda _: self._try_commit_once(process), self._wait, (0.0,)
            )
        except StorageUnavailableError as error:
            process.availability.note_late(error, since)
            raise

    def _try_commit_once(self, process: PostgresProcess) -> bool:
        pool = process.pool
        process.trial.note_session(has_one=False)
        with self._retried:
            pooled = pool.check_out()
            process.trial.note_session(has_one=True)
            connection = pooled.connection
            look = self._session_settings.look.of(connection)
            try:
                with pool.watchdog.watching(connection, self._limit_s):
                    return try_commit(
                        connection,
                        PostgresTransaction(connection, look, self.known_version),
                    )
            finally:
                pool.check_in(pooled)

    def takes_writes(self) -> bool:
        """Return whether the server takes writes and commits come back."""
        process = self._state
        process.availability.check()
        limit_s = SILENCE_S if process.gate.is_last() else _TRIAL_LIMIT_S
        if not process.trial.takes_writes(time.monotonic() - FRESH_S, limit_s):
            return False
        return bool(self.read_one("takes_writes")[0][0])

    # -- wake-ups ------------------------------------------------------------------

    def wake(self, queue_name: str) -> None:
        """Wake this process's workers; the statement has notified the others."""
        self._current.wake(queue_name)  # this process has just written

    def listen(self, callback: WakeCallback) -> Listener:
        """Call ``callback`` at each wake-up until the listener is stopped."""
        self.open()
        callbacks = self._state.callbacks
        callbacks.append(callback)
        settings = self._settings.listener()
        order = self._order if settings is self._settings else ServerOrder()
        return PostgresListener(
            callback,
            forget=lambda: callbacks.remove(callback),
            connect=lambda: connect(settings, order),
            notify=lambda payload: self.execute("notify", queue_name=payload),
            watching=self._state.pool.watchdog.watching,
            may_be_pooled=bool(self._settings.listen_url),
            is_own=lambda pid: pid in self._state.pool.backend_pids,
        )

    @property
    def turn(self) -> contextlib.AbstractContextManager[float]:
        """Counts a block as a call; see :attr:`.Database.turn`."""
        return self._state.turn()

    # -- facts ---------------------------------------------------------------------

    def schema_versions(self) -> SchemaVersions | None:
        """Return the versions, or None if the database has no schema of ours."""
        state = self._state
        state.availability.check()
        with self._surfaced, state.pool.connection(limit_s=self._limit_s) as connection:
            applied = PostgresSchema(connection).applied()
        return SchemaVersions.of(applied, self.known_version) if applied else None

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return facts about the live connection; the driver comes last."""
        self.open()
        with self.turn, self._surfaced, self._state.pool.connection() as connection:
            version = connection.info.parameter_status("server_version") or "unknown"
        return (
            ("server_version", version),
            ("max_connections", str(self._settings.pool_size)),
            ("driver", driver()),
        )

    @property
    def file(self) -> None:
        """None: the files are the server's."""
        return

    def log_bytes(self) -> int:
        """Return 0: the log is the server's."""
        return 0

    def close(self) -> None:
        """Close the idle connections of this process."""
        closing = self._state
        closing.availability.close()
        closing.trial.close()
        closing.pool.close()
        current = self._new_process()
        current.callbacks = closing.callbacks  # a running worker still listens
        self._current = current
