"""One connection to PostgreSQL: how it is opened, and what its session is told.

Behind a pooler a session is anybody's, so a transaction brings what it needs. A session
of our own is told once, which saves a call up to seven statements.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.database import left_s
from flask_forge_jobs.storage.migrate import OLDEST_POSTGRES, refuse_older

logger = get_logger(__name__)

SAFE_MODE = "verify-full"
# How lines of libpq begin that add to what went wrong.
_ASIDES = ("\t", "DETAIL:", "HINT:")
# Rows that arrive as JSON are guessed to be a hundred, and on a small or a freshly
# filled table that guess makes the planner read all of it; a LIMIT that is seldom
# reached has the same effect. Every statement of ours is served by an index, so say so,
# and none is worth the start of parallel workers. Compiling one takes longer than
# running it.
_PLAN_BY_INDEX = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


class Session(Connection):
    """A connection that knows whether its session has been told our settings."""

    is_told = False


@dataclass(frozen=True, slots=True)
class Opening:
    """The text that opens a transaction; empty when there is nothing to say.

    Args:
        untold: Says everything, to whichever session.
        told: Says what a session that was told lacks.
    """

    untold: str
    told: str

    def of(self, connection: Connection) -> str:
        """Return the text for a connection."""
        is_told = isinstance(connection, Session) and connection.is_told
        return self.told if is_told else self.untold

    def then(self, text: str) -> Opening:
        """Return an opening that says more."""
        return Opening(*(_joined(each, text) for each in (self.untold, self.told)))


class SessionSettings:
    """The settings of every transaction.

    A database may have another isolation level as its default, a call that was given up
    here must not be carried out later, and a server whose network has swallowed us must
    not keep our locks for hours.

    Args:
        statement_timeout_ms: The longest statement.
        idle_timeout_ms: The longest pause between two of one transaction.
    """

    def __init__(self, statement_timeout_ms: int, idle_timeout_ms: int) -> None:
        limit = {"statement_timeout": str(statement_timeout_ms)}
        idle = {"idle_in_transaction_session_timeout": str(idle_timeout_ms)}
        committed = "ISOLATION LEVEL READ COMMITTED"
        local = _set("SET LOCAL", limit | idle | _PLAN_BY_INDEX)
        self._session = _set(
            "SET",
            limit
            | idle
            | _PLAN_BY_INDEX
            | {"default_transaction_isolation": "'read committed'"},
        )
        #: Statements of one message are one transaction, which ends with the message.
        self.alone = Opening(
            _joined(f"SET TRANSACTION {committed}", _set("SET LOCAL", limit)), ""
        )
        begin = f"BEGIN {committed}"
        self.write = Opening(_joined(begin, local), begin)
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        self.read = Opening(_joined(begin, local), begin)

    def tell(self, connection: Session) -> None:
        """Tell a new session, if it is ours alone.

        A pooler gives its clients process ids that it makes up; only who reaches the
        server itself, or through what passes every byte on, is told the true one.
        """
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            if cursor.fetchone() == (connection.info.backend_pid,):
                cursor.execute(self._session)
                connection.is_told = True


def _set(verb: str, settings: dict[str, str]) -> str:
    return _joined(*(f"{verb} {name} = {value}" for name, value in settings.items()))


def _joined(*texts: str) -> str:
    return ";\n".join(filter(None, texts))


def _keywords(settings: DatabaseSettings) -> dict[str, Any]:
    """Return libpq's keywords, with time-outs for peers that died without a word.

    They are plain connection parameters, so they pass through PgBouncer.
    """
    return {
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        **settings.connect_parameters(),
        # libpq takes 2 s as the shortest.
        "connect_timeout": max(int(left_s(settings.connect_timeout_s)), 2),
    }


def connect(settings: DatabaseSettings) -> Session:
    """Open a connection in autocommit mode.

    Raises:
        StorageUnavailableError: The server could not be reached or refused; the message
            names it without the password.
        StorageError: The server is too old.
    """
    try:
        connection: Session = psycopg2.connect(
            connection_factory=Session, **_keywords(settings)
        )
    except psycopg2.OperationalError as error:
        # A line for each address that was tried, some with an indented hint below.
        lines = str(error).strip().splitlines()
        reason = [line for line in lines if not line.startswith(_ASIDES)][-1]
        if settings.password:
            reason = reason.replace(settings.password, "***")
        raise StorageUnavailableError(
            f"cannot reach PostgreSQL at {settings.dsn_for_display}{settings.named}: "
            f"{reason}"
        ) from error
    try:
        # It came with the connection: no round trip.
        version = connection.info.parameter_status("server_version") or ""
        refuse_older("PostgreSQL", version, OLDEST_POSTGRES)
    except BaseException:
        connection.close()
        raise
    connection.autocommit = True
    return connection


def warn_of_unchecked_server(connection: Connection) -> None:
    """Log it when another machine's certificate and name were not checked.

    What counts is what libpq made of the settings, the environment and its own files.
    """
    info = connection.info
    mode = info.dsn_parameters.get("sslmode", "unset")
    if mode == SAFE_MODE or is_here(info.host or ""):
        return
    logger.warning(
        "PostgreSQL on %s is reached with sslmode=%s; only %s keeps others from "
        "reading along or answering in its place",
        info.host,
        mode,
        SAFE_MODE,
    )


def is_here(host: str) -> bool:
    """Tell whether a host is a Unix socket or this machine."""
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def driver() -> str:
    """Return the name and the version of the driver."""
    # The type stubs do not know the version.
    release: str = vars(psycopg2)["__version__"]
    return f"psycopg2 {release.split(maxsplit=1)[0]}"
