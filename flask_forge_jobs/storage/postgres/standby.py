"""Reads on a hot standby that refuse to be older than asked.

A position is a number of bytes of the write-ahead log since its beginning. It rides
along with the first statement of a read, so that a pool or an address may lead to
several standbys: the one that answers is the one that was checked.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

import psycopg2

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.storage.database import Apart, Parameter, Row
from flask_forge_jobs.storage.deadlines import within
from flask_forge_jobs.storage.postgres.connection import OpeningSql
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from flask_forge_jobs.storage.postgres.faults import PostgresFaults
from flask_forge_jobs.storage.postgres.transaction import PostgresTransaction

T = TypeVar("T")
# By which the server refuses a read that would be too old.
_DIVISION_BY_ZERO = "22012"
_PROBE_LIMIT_S = 2.0


class StandbyBehindError(StorageUnavailableError):
    """The standby is too far behind, or is none any more."""


class _StandbyFaults(PostgresFaults):
    def _refusal(self, error: psycopg2.Error, code: str) -> Exception:
        if code == _DIVISION_BY_ZERO:
            return StandbyBehindError("is too far behind, or takes writes itself")
        return super()._refusal(error, code)


class _Noted(threading.local):
    """The first failed read of a thread."""

    error: StorageError | None = None


class StandbyDatabase(PostgresDatabase):
    """A standby as a Database for reads; nothing is tried twice, and nothing migrated.

    ``required`` returns the position that a read must see, or raises a StorageError.
    """

    def __init__(self, settings: DatabaseSettings, required: Callable[[], int]) -> None:
        self._required = required
        self._noted = _Noted()
        super().__init__(settings, may_migrate=False, wait=_give_up)
        self._retried = _StandbyFaults(settings.statement_timeout_s, is_retried=True)
        self._current = self._new_process()

    def read(
        self, work: Callable[[PostgresTransaction], T], *, apart: Apart = False
    ) -> T:
        """Run reads against one snapshot that is not too old."""
        del apart  # each statement on its own would need a check of its own
        return self._guarded(self._session_settings.read, work)

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one statement whose snapshot is not too old."""
        return self._guarded(
            self._session_settings.look,
            lambda transaction: transaction.all(name, **parameters),
        )

    def _guarded(
        self, opening: OpeningSql, work: Callable[[PostgresTransaction], T]
    ) -> T:
        with self.turn:
            # Not before the schema is known to fit.
            self.open()
            return self._run(opening.then(_guard(self._required())), work)

    @property
    @contextlib.contextmanager
    def turn(self) -> Iterator[float]:
        """Counts a block as a call, and notes its error."""
        try:
            with super().turn as limit_s:
                yield limit_s
        except StorageError as error:
            self._noted.error = self._noted.error or error
            raise

    @contextlib.contextmanager
    def noting(self) -> Iterator[Callable[[], StorageError | None]]:
        """Yield a function that returns the first error of a read in the block.

        A view may show the rest of its page without a part that could not be read.
        """
        self._noted.error = None
        try:
            yield lambda: self._noted.error
        finally:
            self._noted.error = None

    def position(self) -> tuple[bool, int | None]:
        """Return whether it is a standby, and up to where it has replayed the log."""
        ((is_standby, position),) = self._unguarded("log_position")
        return bool(is_standby), position

    def identity(self) -> list[Row]:
        """Return what a standby shares with its primary, and no other database."""
        return self._unguarded("shared_identity")

    def _unguarded(self, name: str) -> list[Row]:
        with self.turn:  # which ends although no second try is made
            return super().read_one(name)

    def _probe(self, writes: bool) -> None:  # noqa: FBT001  # as the primary's
        """Raise a StorageError while no server answers; it need take no writes."""
        del writes
        self.forget_idle()
        with (
            within(_PROBE_LIMIT_S),
            self._surfaced,
            contextlib.closing(self._connect()),
        ):
            pass

    def forget_idle(self) -> None:
        """Close the idle connections, which may lead to a server that is gone."""
        self._state.pool.discard_idle()


def _guard(position: int) -> str:
    """Return SQL that fails on a server that has not replayed up to a position."""
    place = f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
    return (
        "SELECT 1 / COALESCE(pg_is_in_recovery() "
        f"AND pg_last_wal_replay_lsn() >= '{place}'::pg_lsn, FALSE)::int"
    )


def _give_up(_delay_s: float) -> NoReturn:
    raise StorageUnavailableError("does not answer, or has cancelled the read")
