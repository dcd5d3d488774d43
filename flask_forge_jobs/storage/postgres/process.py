"""What one process has opened of a PostgreSQL database, and its transactions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import psycopg2

from flask_forge_jobs.errors import StorageOutcomeUnknownError
from flask_forge_jobs.storage.database import Row, WakeCallback
from flask_forge_jobs.storage.faults import TransientError
from flask_forge_jobs.storage.postgres.availability import Availability
from flask_forge_jobs.storage.postgres.connection import OpeningSql
from flask_forge_jobs.storage.postgres.faults import (
    NotifyPause,
    PostgresFaults,
    is_of_no_use,
    is_unheard,
    look_how_full,
)
from flask_forge_jobs.storage.postgres.pool import ConnectionPool
from flask_forge_jobs.storage.postgres.transaction import PostgresTransaction


class PostgresProcess:
    """What one process has opened; a forked child starts with a new one.

    ``limit_s`` is the longest call, in seconds.
    """

    def __init__(
        self,
        make_pool: Callable[[Availability], ConnectionPool],
        probe: Callable[[bool], object],
        faults: PostgresFaults,
        *,
        known_version: int,
        limit_s: float,
    ) -> None:
        self.pid = os.getpid()
        self.faults = faults
        self.known_version = known_version
        self.limit_s = limit_s
        # Something may have changed while the server was away.
        self.availability = Availability(probe, partial(self.wake, None))
        self.pool = make_pool(self.availability)
        self.quiet = NotifyPause()
        self.is_open = False
        self.tables: Row = ()
        self.callbacks: list[WakeCallback] = []

    def wake(self, queue_name: str | None) -> None:
        """Wake the workers of this process: those of a queue, or all of them."""
        for callback in list(self.callbacks):
            callback(queue_name)


class TransactionBlock:
    """A transaction as a ``with`` block: a connection, the end, and the wake-ups.

    An error in the block rolls it back; driver errors become ours. This is a class
    because a generator would slow down every call.
    """

    def __init__(
        self,
        process: PostgresProcess,
        opening: OpeningSql,
        attempt: int,
        *,
        urgent: bool = False,
    ) -> None:
        self._process = process
        self._opening = opening
        self._attempt = attempt
        self._loan = process.pool.connection(urgent=urgent, limit_s=process.limit_s)

    def __enter__(self) -> PostgresTransaction:
        process, opening = self._process, self._opening
        process.availability.check()
        self._since = time.monotonic()
        try:
            self._connection = connection = self._loan.__enter__()
        except BaseException as error:  # noqa: BLE001  # raised again
            self._surface(error)
        try:
            self._opened = PostgresTransaction(
                connection,
                opening.of(connection),
                process.known_version,
                self._attempt,
                is_quiet=process.quiet.is_on,
            )
        except BaseException as error:  # noqa: BLE001  # raised again
            self._loan.__exit__()
            self._surface(error)
        return self._opened

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        try:
            if error is None and not self._opening.ends_itself:
                self._opened.end()
        except BaseException as raised:  # noqa: BLE001  # raised again
            error = raised
        try:
            if error is not None:
                self._undo(error)
        except BaseException as raised:  # noqa: BLE001  # raised again
            error = raised
        finally:
            self._loan.__exit__()
        if error is not None:
            self._surface(error)
        for queue_name in self._opened.woken:
            self._process.wake(queue_name)

    def _undo(self, error: BaseException) -> None:
        """Roll back; raise a TransientError if the answer to a commit was lost."""
        connection, opened, opening = self._connection, self._opened, self._opening
        may_be_stored = opening.stores and opened.may_be_stored(
            ends_itself=opening.ends_itself
        )
        is_lost = connection.closed
        if is_of_no_use(error):
            connection.close()
        opened.undo()
        if is_unheard(error):
            self._process.quiet.note_unheard(look_how_full(connection))
        if is_lost and may_be_stored and isinstance(error, psycopg2.Error):
            raise TransientError(StorageOutcomeUnknownError(), is_away=True) from error

    def _surface(self, error: BaseException) -> NoReturn:
        """Raise the translated error, and report it if the server is away."""
        try:
            with self._process.faults:
                raise error
        except TransientError as fault:
            self._process.availability.take_in(fault, self._attempt, self._since)
            raise
