"""The connections of one process to a PostgreSQL database, and its transactions.

Calls to a hanging server soon block every thread of a web process. So after the first
time-out calls fail at once, until a probe, once a second, gets an answer.

A session that listens and never ends its transaction keeps the server from dropping
notifications. Once the queue is full, every commit that notifies fails. So we stop
notifying for a while and workers poll for new jobs. The queue stays full even after
that session is gone, until somebody asks for its usage: otherwise only commits that
notify clean it up, and those fail.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import (
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.log_lines import LogThrottle
from flask_forge_jobs.request_threads import this_thread
from flask_forge_jobs.storage.database import (
    RETRY_DELAYS_S,
    Row,
    TransientError,
    WakeCallback,
)
from flask_forge_jobs.storage.deadlines import left_s
from flask_forge_jobs.storage.postgres.connection import OpeningSql
from flask_forge_jobs.storage.postgres.faults import (
    NotTriedError,
    PostgresFaults,
    is_notify_queue_full,
    is_of_no_use,
)
from flask_forge_jobs.storage.postgres.pool import ConnectionPool
from flask_forge_jobs.storage.postgres.request_gate import RequestGate
from flask_forge_jobs.storage.postgres.transaction import PostgresTransaction
from flask_forge_jobs.storage.postgres.trial import Trial

logger = get_logger(__name__)
_LOG_THROTTLE = LogThrottle()

# Commits that wait longer for a standby mean that the standby does not answer.
LONG_WAIT_S = 2.0
# The server never times out a commit that waits for its standby. If one of our commits
# still waits there, the probe must not add another, which would use up a connection.
_COMMITS_WAIT = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' "
    "AND datname = current_database() AND usename = session_user "
    "AND application_name = current_setting('application_name') "
    "AND query_start < clock_timestamp() - %s * interval '1 s')"
)
# Stores nothing, but waits for the standby as any commit does.
_EMPTY_COMMIT = "SELECT pg_logical_emit_message(true, 'forge_jobs', '')"


def require_working(
    connection: Connection, transaction: PostgresTransaction, *, writes: bool
) -> None:
    """Raise StorageUnavailableError unless the server takes writes and ends commits.

    ``transaction`` has not begun on ``connection``, which is in autocommit mode.
    ``writes`` also tries a commit.
    """
    ((takes_writes,),) = transaction.all("takes_writes")
    if not takes_writes:
        raise StorageUnavailableError("the server takes no writes at present")
    _require_commits(connection, writes=writes)


def try_commit(connection: Connection, transaction: PostgresTransaction) -> bool:
    """Commit nothing; return False if the server takes no writes.

    Raises:
        StorageUnavailableError: Commits are waiting for a standby.
    """
    ((takes_writes,),) = transaction.all("takes_writes")
    if takes_writes:
        _require_commits(connection, writes=True)
    return bool(takes_writes)


def _require_commits(connection: Connection, *, writes: bool) -> None:
    cursor = connection.cursor()
    cursor.execute(_COMMITS_WAIT, [LONG_WAIT_S])
    ((commits_wait,),) = cursor.fetchall()
    if commits_wait:
        raise StorageUnavailableError("commits wait for a standby that does not answer")
    if writes:
        cursor.execute(_EMPTY_COMMIT)


PROBE_PERIOD_S = 1.0
# A server that fails again this soon must also commit to count as available.
RELAPSE_S = 60.0
# A call that fails this late has timed out; a refused one fails sooner.
_TIMED_OUT_S = 2.0
_NO_ANSWER = "it did not answer a commit"


class Availability:
    """Fails calls at once while the server is unavailable.

    Args:
        probe: Raises a StorageError while the server is unavailable. Its argument asks
            for a commit too: a server that waits for its standby still answers reads.
        on_return: Called on the probe's thread when the server is back.
    """

    def __init__(
        self, probe: Callable[[bool], object], on_return: Callable[[], object]
    ) -> None:
        self._probe = probe
        self._on_return = on_return
        self._changing = threading.RLock()
        self._reason: str | None = None
        self._closing = threading.Event()
        self._returned_at = -math.inf

    def check(self) -> None:
        """Raise NotTriedError if the server is unavailable."""
        reason = self._reason
        if reason is not None:
            raise NotTriedError(f"the database is unavailable: {reason}")

    def note_away(self, reason: str) -> None:
        """Fail calls from now on and start to probe the server."""
        with self._changing:
            if self._reason is not None:
                return
            self._closing.clear()
            thread = threading.Thread(
                target=self._look, name="forge-jobs-probe", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # out of threads: nobody would end the failing
                return
            self._reason = reason
        logger.warning(
            "the database is unavailable; calls fail until it answers: %s", reason
        )

    def take_in(self, fault: TransientError, attempt: int, since: float) -> None:
        """Judge a fault of a call that began at ``since`` on the monotonic clock.

        Raises:
            StorageError: No time is left for another try.
        """
        is_last = attempt == len(RETRY_DELAYS_S)
        if fault.is_away and (is_last or time.monotonic() - since >= _TIMED_OUT_S):
            # The outcome of that call says nothing about later ones.
            is_unknown = isinstance(fault.surfaced, StorageOutcomeUnknownError)
            self.note_away(_NO_ANSWER if is_unknown else str(fault))
        if left_s(1.0) <= 0:
            raise fault.surfaced from fault.__cause__

    def note_late(self, error: StorageError, since: float) -> None:
        """Fail calls from now on if one that began at ``since`` has timed out."""
        if time.monotonic() - since >= _TIMED_OUT_S:
            self.note_away(str(error))

    def close(self) -> None:
        """Stop probing; a later call finds out for itself."""
        with self._changing:
            self._closing.set()
            self._reason = None

    def _look(self) -> None:
        is_relapse = time.monotonic() - self._returned_at < RELAPSE_S
        while not self._closing.is_set():
            try:
                self._probe(is_relapse)
            except Exception as error:
                if not isinstance(error, StorageError):
                    logger.exception("cannot probe the database; trying again")
                self._closing.wait(PROBE_PERIOD_S)
                continue
            with self._changing:
                if self._closing.is_set():
                    return
                self._reason = None
            self._returned_at = time.monotonic()
            logger.warning("the database answers again")
            self._on_return()
            return


# How long to notify nobody before the next try, which costs one call a retry.
QUIET_S = 10.0
_MUCH = 0.5


def _look_how_full(connection: Connection) -> float:
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

    def begin_if_full(self, share: float) -> None:
        """Notify nobody for 10 s if the notification queue is at least half full."""
        if share < _MUCH:
            return
        self._until = self._clock() + QUIET_S
        if _LOG_THROTTLE.is_time_for("full"):
            logger.warning(
                "PostgreSQL's notification queue is full; workers poll for new jobs "
                "meanwhile%s",
                _LOG_THROTTLE.more("full"),
            )


class PostgresProcess:
    """The connections of one process; a forked child starts with a new object.

    ``limit_s`` is the longest call, in seconds.
    """

    def __init__(
        self,
        make_pool: Callable[[Availability], ConnectionPool],
        probe: Callable[[bool], object],
        try_commit: Callable[[], bool],
        faults: PostgresFaults,
        *,
        known_version: int,
        limit_s: float,
    ) -> None:
        self.faults = faults
        self.known_version = known_version
        self.limit_s = limit_s
        # Something may have changed while the server was unavailable.
        self.availability = Availability(probe, partial(self.wake, None))
        self.pool = make_pool(self.availability)
        self.trial = Trial(try_commit)
        self.gate = RequestGate(self.trial)
        self.quiet = NotifyPause()
        self.is_open = False
        self.tables: Row = ()
        self.cluster: list[Row] = []
        self.callbacks: list[WakeCallback] = []

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Count this thread for a block; see :attr:`.Database.turn`."""
        self.availability.check()
        has_turn = self.gate.enter()
        try:
            yield self.limit_s
        finally:
            if has_turn:
                self.gate.leave()

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
        self._has_turn = False
        self._loan = process.pool.connection(urgent=urgent, limit_s=process.limit_s)

    def __enter__(self) -> PostgresTransaction:
        process, opening = self._process, self._opening
        try:
            process.availability.check()
        except NotTriedError:
            process.gate.give_up()
            raise
        self._has_turn = this_thread.answers_requests and process.gate.enter()
        self._since = time.monotonic()
        try:
            self._connection = connection = self._loan.__enter__()
        except BaseException as error:  # noqa: BLE001  # raised again
            self._surface(error)
        try:
            begin = opening.of(connection)
            self._ends_itself = opening.ends_itself or not begin
            self._opened = PostgresTransaction(
                connection,
                begin,
                process.known_version,
                self._attempt,
                check=opening.check,
                is_quiet=process.quiet.is_on,
            )
        except BaseException as error:  # noqa: BLE001  # raised again
            self._loan.__exit__()
            self._surface(error)
        return self._opened

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        try:
            if error is None and not self._ends_itself:
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
        self._end_turn()
        for queue_name in self._opened.woken:
            self._process.wake(queue_name)

    def abandon(self) -> None:
        """Give the connection back closed, unless that is done.

        A signal handler may raise before ``__exit__`` has done anything.
        """
        if self._loan.is_out:
            self._connection.close()
            self._loan.__exit__()
        self._end_turn()

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._process.gate.leave()

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
        if is_notify_queue_full(error):
            self._process.quiet.begin_if_full(_look_how_full(connection))
        if is_lost and may_be_stored and isinstance(error, psycopg2.Error):
            raise TransientError(StorageOutcomeUnknownError(), is_away=True) from error

    def _surface(self, error: BaseException) -> NoReturn:
        """Raise the translated error, and report it if the server is unavailable."""
        try:
            with self._process.faults:
                raise error
        except TransientError as fault:
            self._process.availability.take_in(fault, self._attempt, self._since)
            if self._has_turn and self._attempt < len(RETRY_DELAYS_S):
                self._has_turn = False
                self._process.gate.pause()
            raise
        finally:
            self._end_turn()
