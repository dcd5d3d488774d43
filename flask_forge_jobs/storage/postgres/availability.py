"""Whether a server can be waited for.

Each call to a server that hangs takes as long as its limits allow, and the threads of a
web process are soon all in one. So after the first time-out nobody waits any more:
calls fail at once until the server is seen to answer; it is looked for once a second.
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

# Other commits wait for a moment only.
LONG_WAIT_S = 2.0
# No limit of the server's reaches a commit that waits for its standby. One of ours that
# was given up here still waits there, so nobody need send another to find out: each
# would stay like the first, until no connection is left.
_COMMITS_WAIT = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' "
    "AND datname = current_database() AND usename = session_user "
    "AND application_name = current_setting('application_name') "
    "AND query_start < clock_timestamp() - %s * interval '1 s')"
)
# Nothing is stored, but a server that waits for its standby waits with this too.
_EMPTY_COMMIT = "SELECT pg_logical_emit_message(true, 'forge_jobs', '')"


def require_working(
    connection: Connection, transaction: PostgresTransaction, *, writes: bool
) -> None:
    """Return if the server answers, takes writes and ends commits.

    Args:
        connection: In autocommit mode.
        transaction: On it, not begun.
        writes: Whether to commit something, too.

    Raises:
        StorageUnavailableError: It does not.
    """
    ((takes_writes,),) = transaction.all("takes_writes")
    if not takes_writes:
        raise StorageUnavailableError("the server takes no writes at present")
    cursor = connection.cursor()
    cursor.execute(_COMMITS_WAIT, [LONG_WAIT_S])
    ((commits_wait,),) = cursor.fetchall()
    if commits_wait:
        raise StorageUnavailableError("commits wait for a standby that is away")
    if writes:
        cursor.execute(_EMPTY_COMMIT)


logger = get_logger(__name__)

PROBE_PERIOD_S = 1.0
# Who is away again so soon after it answered is asked for more than an answer.
RELAPSE_S = 60.0
# An attempt that ends so late has met one of the limits, not a refusal.
_TIMED_OUT_S = 2.0


class Availability:
    """Keeps callers from a server that is away.

    Args:
        probe: Raises a StorageError unless the server answers and takes writes. Called
            with whether to write something: a server that waits for its standby answers
            reads and ends no commit.
        on_return: Called on a thread of its own when it does again.
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
        """Let a call pass.

        Raises:
            StorageUnavailableError: The server is away.
        """
        reason = self._reason
        if reason is not None:
            raise StorageUnavailableError(
                f"not tried, for the last call failed: {reason}"
            )

    def note_away(self, reason: str) -> None:
        """Take in that the server cannot be waited for."""
        with self._changing:
            if self._reason is not None:
                return
            self._reason = reason
            self._closing.clear()
            threading.Thread(
                target=self._look, name="forge-jobs-probe", daemon=True
            ).start()
        logger.warning("the database is away, calls fail until it answers: %s", reason)

    def take_in(self, fault: TransientError, attempt: int, since: float) -> None:
        """Take in a fault, which may say that there is no server to work with.

        Args:
            fault: What a call met.
            attempt: Number of its try, from 0.
            since: Reading of the monotonic clock when it began.

        Raises:
            StorageError: There is no time for a further try.
        """
        is_last = attempt == len(RETRY_DELAYS_S)
        if fault.is_away and (is_last or time.monotonic() - since >= _TIMED_OUT_S):
            self.note_away(str(fault))
        if left_s(1.0) <= 0:
            raise fault.surfaced from fault.__cause__

    def close(self) -> None:
        """Look no more; a later call finds out for itself."""
        with self._changing:
            self._closing.set()
            self._reason = None

    def _look(self) -> None:
        is_relapse = time.monotonic() - self._returned_at < RELAPSE_S
        while not self._closing.is_set():
            try:
                self._probe(is_relapse)
            except StorageError:
                self._closing.wait(PROBE_PERIOD_S)
                continue
            except Exception:
                logger.exception("cannot look for the database; trying again")
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
