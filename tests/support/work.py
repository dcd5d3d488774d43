"""How much a database does for a call, counted instead of timed.

Medians of a busy machine tell little about twenty thousand jobs. What is counted here
is the same at every run: blocks read of the job table and its indexes on PostgreSQL,
steps of the virtual machine on SQLite.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from flask_forge_jobs.storage.base import Storage
from tests.support.sql import UNDER_TEST, Sql
from tests.support.waiting import wait_until

STEPS_A_TICK = 10
_BLOCKS = (
    "SELECT heap_blks_hit + heap_blks_read + COALESCE(idx_blks_hit + idx_blks_read, 0)"
    " FROM pg_statio_user_tables WHERE relname = 'forge_job'"
)
_SESSIONS = (
    f"SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {UNDER_TEST}"
)
_AUTOVACUUM = "ALTER TABLE forge_job {} (autovacuum_enabled{})"
Handler = Callable[[], int | None]


class VirtualMachine:
    """Counts the steps of every SQLite connection that is opened from now on.

    A connection has one progress handler, and a read puts its deadline there, so ours
    asks that one, too; it is asked more often than it wanted, which is harmless.

    Args:
        monkeypatch: Undoes it after the test.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._steps = 0
        machine = self
        connect = sqlite3.connect

        def counting(kind: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
            class Counted(kind):  # type: ignore[valid-type,misc]  # whatever is asked for
                def set_progress_handler(
                    self, handler: Handler | None, _n: int
                ) -> None:
                    super().set_progress_handler(machine.ticking(handler), STEPS_A_TICK)

            return Counted

        def counted(
            *args: Any,
            factory: type[sqlite3.Connection] = sqlite3.Connection,
            **kwargs: Any,
        ) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(
                *args, factory=counting(factory), **kwargs
            )
            connection.set_progress_handler(None, 0)
            return connection

        monkeypatch.setattr(sqlite3, "connect", counted)

    def ticking(self, inner: Handler | None) -> Handler:
        """Return a handler that counts and then asks another one."""

        def tick() -> int | None:
            self._steps += STEPS_A_TICK
            return inner() if inner else 0

        return tick

    def steps(self, call: Callable[[], object]) -> int:
        """Return the steps of a call."""
        call()  # opens the connection and compiles the statements
        before = self._steps
        call()
        return self._steps - before


def blocks_read(storage: Storage, sql: Sql, call: Callable[[], object]) -> int:
    """Return the blocks that PostgreSQL reads of jobs during a call."""
    # What the server reads by itself in between is not the call's.
    sql.run(_AUTOVACUUM.format("SET", " = off"))
    try:
        _end_sessions(storage, sql)
        before = int(sql.value(_BLOCKS))
        call()
        _end_sessions(storage, sql)
        return int(sql.value(_BLOCKS)) - before
    finally:
        sql.run(_AUTOVACUUM.format("RESET", ""))


def _end_sessions(storage: Storage, sql: Sql) -> None:
    """Close every session: only then is all that it read in the statistics."""
    ended = sql.end_session()
    own = f"SELECT COUNT(*) FROM pg_stat_activity WHERE pid = {ended}"
    wait_until(lambda: sql.value(own) == 0, "the session beside has ended")

    def none_is_left() -> bool:
        # On a busy machine the last figures may be stored, on a session of their own,
        # after the two seconds that closing waits for them. Another storage of this
        # database may have left one, too, so that those that are left are ended.
        storage.close()
        return bool(sql.value(_SESSIONS) == 0)

    wait_until(none_is_left, "every session has ended")
