"""Looks whether a PostgreSQL server that was away can be worked with again."""

from __future__ import annotations

from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import StorageUnavailableError
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
