"""A circuit breaker for a server that is away.

Calls to a hanging server soon block every thread of a web process. So after the first
time-out calls fail at once, until a probe, once a second, gets an answer.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.database import left_s
from flask_forge_jobs.storage.faults import RETRY_DELAYS_S, TransientError
from flask_forge_jobs.storage.postgres.transaction import PostgresTransaction

# Commits that wait longer for a standby mean that the standby is away.
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
    cursor = connection.cursor()
    cursor.execute(_COMMITS_WAIT, [LONG_WAIT_S])
    ((commits_wait,),) = cursor.fetchall()
    if commits_wait:
        raise StorageUnavailableError("commits are waiting for a standby that is away")
    if writes:
        cursor.execute(_EMPTY_COMMIT)


logger = get_logger(__name__)

PROBE_PERIOD_S = 1.0
# A server that is away again this soon must also commit to count as back.
RELAPSE_S = 60.0
# A call that fails this late has timed out; a refused one fails sooner.
_TIMED_OUT_S = 2.0


class Availability:
    """Fails calls at once while the server is away.

    Args:
        probe: Raises a StorageError while the server is away. Its argument asks for a
            commit too: a server that waits for its standby still answers reads.
        on_return: Called on the probe's thread when the server is back.
    """

    def __init__(
        self, probe: Callable[[bool], object], on_return: Callable[[], object]
    ) -> None:
        self._probe = probe
        self._on_return = on_return
        self._changing = threading.Lock()
        self._reason: str | None = None
        self._closing = threading.Event()
        self._returned_at = -math.inf

    def check(self) -> None:
        """Raise StorageUnavailableError if the server is away."""
        reason = self._reason
        if reason is not None:
            raise StorageUnavailableError(
                f"not tried because the last call failed: {reason}"
            )

    def note_away(self, reason: str) -> None:
        """Fail calls from now on and start to probe the server."""
        with self._changing:
            if self._reason is not None:
                return
            self._reason = reason
            self._closing.clear()
            threading.Thread(
                target=self._look, name="forge-jobs-probe", daemon=True
            ).start()
        logger.warning("the database is away; calls fail until it answers: %s", reason)

    def take_in(self, fault: TransientError, attempt: int, since: float) -> None:
        """Judge a fault of a call that began at ``since`` on the monotonic clock.

        Raises:
            StorageError: No time is left for another try.
        """
        is_last = attempt == len(RETRY_DELAYS_S)
        if fault.is_away and (is_last or time.monotonic() - since >= _TIMED_OUT_S):
            self.note_away(str(fault))
        if left_s(1.0) <= 0:
            raise fault.surfaced from fault.__cause__

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
