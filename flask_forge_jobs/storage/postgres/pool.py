"""A pool of PostgreSQL connections, and a deadline for every call.

Unlike psycopg2's pool, this one waits when it is exhausted, reserves a connection for
heartbeats, and discards a connection after an error that may have broken it. libpq's
time-outs do not fire while a server is stopped but its machine is up. So a watchdog
shuts the socket of a call that outlives its deadline, and the call fails as with any
lost connection.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import StorageBusyError, StorageUnavailableError
from flask_forge_jobs.storage.deadlines import left_s
from flask_forge_jobs.storage.postgres.connection import Session
from flask_forge_jobs.storage.postgres.faults import NoFurtherConnectionError

# Replacing a connection at this age, give or take 10 %, makes all of them follow a
# fail-over or a DNS change.
MAX_AGE_S = 1800.0
CHECK_AFTER_IDLE_S = 30.0
_WATCH_PERIOD_S = 0.5
_CHECK_PERIOD_S = 0.5
# A server that refuses does so at once; libpq's shortest time-out is twice as long.
_REFUSED_WITHIN_S = 1.0
# Idle periods before the watchdog's thread ends: starting it costs more than a call.
_WATCH_ON_FOR = 20


class Watchdog:
    """Cuts connections whose call has outlived its deadline."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._watched: dict[int, tuple[float, Connection]] = {}
        self._thread: threading.Thread | None = None
        self._changing = threading.RLock()
        self._closing = threading.Event()

    def watching(self, connection: Connection, limit_s: float) -> _Watch:
        """Cut the connection unless a block ends within ``limit_s`` seconds."""
        return _Watch(self, connection, limit_s)

    def begin(self, connection: Connection, limit_s: float) -> int:
        """Begin to watch a call; return its number for :meth:`end`."""
        number = next(self._numbers)
        self._watched[number] = (time.monotonic() + limit_s, connection)
        if self._thread is None:
            self._start()
        return number

    def end(self, number: int) -> None:
        """Stop watching a call."""
        del self._watched[number]

    def close(self) -> None:
        """End the thread once no call is left; a later call restarts it.

        With no call under way it has ended on return: Python warns of a fork beside a
        running thread.
        """
        with self._changing:
            thread = self._thread
            self._closing.set()
        if thread is not None and not self._watched:
            thread.join(_WATCH_PERIOD_S)

    def _start(self) -> None:
        with self._changing:
            if self._thread is None:
                self._closing.clear()
                thread = threading.Thread(
                    target=self._run, name="forge-jobs-watchdog", daemon=True
                )
                # No thread can start at exit; the last calls then go unwatched.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        pause = threading.Event()
        quiet = 0
        while quiet < _WATCH_ON_FOR or not self._ends():
            # Once set, the event would no longer wait, so pause instead.
            waits = self._closing if not self._closing.is_set() else pause
            waits.wait(_WATCH_PERIOD_S)
            if self._watched:
                quiet = 0
            else:
                quiet = _WATCH_ON_FOR if self._closing.is_set() else quiet + 1
            self._cut_overdue(time.monotonic())

    def _ends(self) -> bool:
        """Return whether the thread may end; a later call then starts another."""
        with self._changing:
            # begin() registers its call before it checks the thread.
            if self._watched:
                return False
            self._thread = None
            return True

    def _cut_overdue(self, now: float) -> None:
        for number, (ends_at, connection) in list(self._watched.items()):
            if now > ends_at and number in self._watched:
                _cut(connection)


# Every call of the storage enters both, and generators would be slower.


@dataclass(slots=True, eq=False)
class _Watch:
    """The result of :meth:`Watchdog.watching`."""

    watchdog: Watchdog
    connection: Connection
    limit_s: float
    number: int = field(init=False)

    def __enter__(self) -> None:
        self.number = self.watchdog.begin(self.connection, self.limit_s)

    def __exit__(self, *_: object) -> None:
        self.watchdog.end(self.number)


@dataclass(slots=True, eq=False)
class _Loan:
    """The result of :meth:`ConnectionPool.connection`."""

    pool: ConnectionPool
    urgent: bool
    limit_s: float | None
    permit: Permits = field(init=False)
    pooled: _Pooled = field(init=False)
    number: int = field(init=False)
    is_out: bool = field(init=False, default=False)

    def __enter__(self) -> Connection:
        pool = self.pool
        self.permit = pool.permit(urgent=self.urgent)
        self.is_out = True
        try:
            self.pooled = pool.check_out()
            connection = self.pooled.connection
            if self.limit_s is not None:
                self.number = pool.watchdog.begin(connection, left_s(self.limit_s))
        except BaseException:
            self.is_out = False
            self.permit.release()
            raise
        return connection

    def __exit__(self, *_: object) -> None:
        try:
            if self.limit_s is not None:
                self.pool.watchdog.end(self.number)
            self.pool.check_in(self.pooled)
        finally:
            self.is_out = False
            self.permit.release()


def _cut(connection: Connection) -> None:
    """Shut a connection's socket, so the call blocked on it fails."""
    with (
        contextlib.suppress(psycopg2.Error, OSError),
        # A duplicate, so that the driver keeps its descriptor.
        socket.socket(fileno=os.dup(connection.fileno())) as duplicate,
    ):
        duplicate.shutdown(socket.SHUT_RDWR)


class Permits:
    """A semaphore that runs in C, because every call of the storage takes a permit."""

    def __init__(self, count: int) -> None:
        left: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            left.put(None)
        self._left = left
        self.release = partial(left.put, None)

    def acquire(self, wait_s: float) -> bool:
        """Take a permit; return False if none is released within ``wait_s`` seconds."""
        try:
            self._left.get(timeout=wait_s)
        except Empty:
            return False
        return True


class _Pooled:
    """A connection and its state in the pool."""

    def __init__(self, connection: Connection, expires_at: float) -> None:
        self.connection = connection
        self.expires_at = expires_at
        self.idle_since = time.monotonic()
        self.backend_pid: int = connection.info.backend_pid


class ConnectionPool:
    """Connections to one server: ``size`` of them and a reserved one.

    ``check`` is called while a caller waits, and raises if waiting is futile.
    """

    def __init__(
        self,
        connect: Callable[[], Session],
        *,
        size: int,
        wait_s: float,
        random: Callable[[], float],
        prepare: Callable[[Session], object] = lambda _: None,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self._connect = connect
        self._prepare = prepare
        self._check = check
        self._wait_s = wait_s
        self._random = random
        self._idle: list[_Pooled] = []
        self._free = Permits(size)
        self._reserved = Permits(1)
        self.watchdog = Watchdog()
        self.backend_pids: set[int] = set()
        self._is_closed = False

    def connection(
        self, *, urgent: bool = False, limit_s: float | None = None
    ) -> _Loan:
        """Lend a connection for a ``with`` block; ``urgent`` may use the reserved one.

        A block that takes longer than ``limit_s`` seconds loses it.

        Raises:
            StorageBusyError: No connection became free in time.
            StorageUnavailableError: The server could not be reached.
        """
        return _Loan(self, urgent, limit_s)

    def permit(self, *, urgent: bool) -> Permits:
        """Take a permit for one connection; the caller releases it."""
        if self._free.acquire(0):
            return self._free
        permit = self._reserved if urgent else self._free
        wait_s = left_s(self._wait_s)
        ends_at = time.monotonic() + wait_s
        while not permit.acquire(min(wait_s, _CHECK_PERIOD_S)):
            self._check()
            wait_s = ends_at - time.monotonic()
            if wait_s <= 0:
                raise StorageBusyError(
                    f"no database connection became free within {self._wait_s:g} s"
                )
        return permit

    def check_out(self) -> _Pooled:
        """Take the idle connection that was used last, or open one."""
        while self._idle:
            try:
                pooled = self._idle.pop()
            except IndexError:
                break
            now = time.monotonic()
            if pooled.connection.closed or now > pooled.expires_at:
                self._discard(pooled)
            elif now - pooled.idle_since < CHECK_AFTER_IDLE_S or self._answers(pooled):
                return pooled
        age_s = MAX_AGE_S * (0.9 + 0.2 * self._random())
        pooled = _Pooled(self._open(), time.monotonic() + age_s)
        self.backend_pids.add(pooled.backend_pid)
        return pooled

    def _open(self) -> Session:
        since = time.monotonic()
        try:
            connection = self._connect()
        except StorageUnavailableError as error:
            # All others are lent; if the server is unavailable their callers will
            # notice.
            is_quick = time.monotonic() - since < _REFUSED_WITHIN_S
            if is_quick and self.backend_pids:
                raise NoFurtherConnectionError(str(error)) from error.__cause__
            raise
        try:
            with self.watchdog.watching(connection, left_s(self._wait_s)):
                self._prepare(connection)
        except BaseException:
            _close(connection)
            raise
        return connection

    def _answers(self, pooled: _Pooled) -> bool:
        try:
            with (
                self.watchdog.watching(pooled.connection, 2.0),
                pooled.connection.cursor() as cursor,
            ):
                cursor.execute("SELECT 1")
        except psycopg2.Error:
            self._discard(pooled)
            self.discard_idle()  # most likely dead too, as in check_in()
            return False
        return True

    def check_in(self, pooled: _Pooled) -> None:
        """Keep a connection for the next caller, unless it may be broken."""
        connection = pooled.connection
        if connection.closed:
            self._discard(pooled)
            # The others are most likely dead too, and a caller that tried each in turn
            # would run out of retries.
            self.discard_idle()
            return
        if connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            self._discard(pooled)
            return
        pooled.idle_since = time.monotonic()
        self._idle.append(pooled)
        # No caller comes to a closed pool. It may have been closed just now, so the
        # connection is put back first.
        if self._is_closed:
            self.discard_idle()

    def close(self) -> None:
        """Close the idle connections, and those in use as soon as they come back."""
        self._is_closed = True
        self.discard_idle()
        self.watchdog.close()

    def discard_idle(self) -> None:
        """Close the idle connections."""
        with contextlib.suppress(IndexError):  # another thread took the last one
            while self._idle:
                self._discard(self._idle.pop())

    def _discard(self, pooled: _Pooled) -> None:
        self.backend_pids.discard(pooled.backend_pid)
        _close(pooled.connection)


def _close(connection: Connection) -> None:
    with contextlib.suppress(psycopg2.Error):
        connection.close()
