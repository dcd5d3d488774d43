"""Connections to PostgreSQL: how they open, and their sessions.

Behind a pooler many clients share a session, so each transaction sets what it needs. A
session of our own is configured once, which saves up to seven statements a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.deadlines import left_s
from flask_forge_jobs.storage.migrate import OLDEST_POSTGRES, refuse_older
from flask_forge_jobs.storage.postgres.server_order import ServerOrder

logger = get_logger(__name__)

SAFE_MODE = "verify-full"
# Beginnings of the lines by which libpq explains an error.
_ASIDES = ("\t", "DETAIL:", "HINT:")
# The planner expects a hundred rows from JSON, and a LIMIT to be reached. On a small or
# freshly filled table it then scans everything. An index serves each of our statements,
# and none is worth parallel workers or JIT compilation.
_PLAN_BY_INDEX = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
# Limits of time that a database or a role may have as defaults, with the first version
# that knows them. Those of a session would end ours while it is idle or at work.
_STATEMENT_LIMITS = {
    "statement_timeout": 0,
    "lock_timeout": 0,
    "idle_in_transaction_session_timeout": 0,
}
_SESSION_LIMITS = {"idle_session_timeout": 140_000, "transaction_timeout": 170_000}


class Session(Connection):
    """A connection that knows whether its session has our settings.

    ``prepared`` has the SQL that runs each statement which the session has planned, by
    name, and ``named`` counts them.
    """

    is_configured = False
    prepared: dict[str, str]
    named = 0


@dataclass(frozen=True, slots=True)
class OpeningSql:
    """The SQL that opens a transaction, for sessions without and with our settings.

    One that ``ends_itself`` ends with the message that holds its statements, and so
    does an empty one.
    """

    unconfigured: str
    configured: str
    unconfigured_17: str
    """As ``unconfigured``, for PostgreSQL 17 and newer."""
    ends_itself: bool = False
    stores: bool = True
    check: str = ""
    """The SQL that checks the schema, unless the only statement does so itself."""

    def of(self, connection: Connection) -> str:
        """Return the text for a connection."""
        if isinstance(connection, Session) and connection.is_configured:
            return self.configured
        is_older = connection.server_version < _SESSION_LIMITS["transaction_timeout"]
        return self.unconfigured if is_older else self.unconfigured_17

    def then(self, text: str) -> OpeningSql:
        """Return this opening with more SQL at its end."""
        return replace(
            self,
            unconfigured=_joined(self.unconfigured, text),
            configured=_joined(self.configured, text),
            unconfigured_17=_joined(self.unconfigured_17, text),
        )


class SessionSettings:
    """The settings of every transaction.

    They fix the isolation level, keep the server from running a call that we have given
    up, and free our locks soon after the network has lost us. ``idle_timeout_ms`` is
    the longest pause between two statements of a transaction.
    """

    def __init__(self, statement_timeout_ms: int, idle_timeout_ms: int) -> None:
        limit = {
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": "0",  # the time limit of the statement ends the wait
            "array_nulls": "on",  # some of our arrays come as text
        }
        idle = {"idle_in_transaction_session_timeout": str(idle_timeout_ms)}
        committed = "ISOLATION LEVEL READ COMMITTED"
        level = {"default_transaction_isolation": "'read committed'"}
        local = limit | idle | _PLAN_BY_INDEX | {"extra_float_digits": "1"}
        self._session = _set("SET", local | level)
        #: For the statements of one message, which are a transaction of their own.
        self.alone = _opening(f"SET TRANSACTION {committed}", limit, "")
        self.alone = replace(self.alone, ends_itself=True)
        self.look = replace(self.alone, stores=False)
        begin = f"BEGIN {committed}"
        self.write = _opening(begin, local, begin)
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        self.read = replace(_opening(begin, local, begin), stores=False)
        #: For statements that are transactions of their own if that needs no settings.
        self.read_apart = replace(_opening(begin, local, ""), stores=False)

    def configure(self, connection: Session) -> None:
        """Configure a new session if it is ours alone.

        A pooler invents the process id that its clients see at the start; without one
        the id is that of the server process.
        """
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            if cursor.fetchone() == (connection.info.backend_pid,):
                unlimited = _unlimited(connection, _SESSION_LIMITS)
                cursor.execute(_joined(self._session, _set("SET", unlimited)))
                connection.prepared = {}
                connection.is_configured = True


def _opening(begin: str, local: dict[str, str], configured: str) -> OpeningSql:
    unconfigured, unconfigured_17 = (
        _joined(begin, _set("SET LOCAL", settings))
        for settings in (local, local | {"transaction_timeout": "0"})
    )
    return OpeningSql(unconfigured, configured, unconfigured_17)


def lift_limits(connection: Connection, verb: str = "SET") -> str:
    """Return SQL that frees a session, or with ``SET LOCAL`` a transaction, of limits.

    The limits of time are meant, which an administrator may have set as defaults.
    """
    return _set(verb, _unlimited(connection, _STATEMENT_LIMITS | _SESSION_LIMITS))


def _unlimited(connection: Connection, since: Mapping[str, int]) -> dict[str, str]:
    version = connection.server_version
    return {name: "0" for name, first in since.items() if version >= first}


def _set(verb: str, settings: dict[str, str]) -> str:
    return _joined(*(f"{verb} {name} = {value}" for name, value in settings.items()))


def _joined(*texts: str) -> str:
    return ";\n".join(filter(None, texts))


def _keywords(settings: DatabaseSettings, order: ServerOrder) -> dict[str, Any]:
    """Return libpq's keywords, with time-outs for peers that vanish silently."""
    return {
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "client_encoding": "UTF8",
        **order.applied_to(settings.connect_parameters()),
        # 2 s is libpq's minimum.
        "connect_timeout": max(int(left_s(settings.connect_timeout_s)), 2),
    }


def _reason(error: psycopg2.OperationalError | UnicodeDecodeError) -> str:
    """Return why no server took the connection.

    libpq reports a line for each host and address, some with an indented hint below.
    All of them matter: of several hosts, the last one may just be a standby.
    """
    text = str(error)
    if isinstance(error, UnicodeDecodeError):
        # A server does not know our encoding yet and writes in that of its locale.
        text = error.object.decode("utf-8", "replace")
    lines = text.strip().splitlines()
    reasons = dict.fromkeys(line for line in lines if not line.startswith(_ASIDES))
    return "; ".join(reasons) or "it gave no reason"


def connect(settings: DatabaseSettings, order: ServerOrder | None = None) -> Session:
    """Open a connection in autocommit mode.

    ``order`` says which of several hosts to try first, and learns which one was
    reached.

    Raises:
        StorageUnavailableError: The server could not be reached or refused the
            connection; the message hides the password.
        StorageError: The server is too old.
    """
    order = order or ServerOrder()
    try:
        connection: Session = psycopg2.connect(
            connection_factory=Session, **_keywords(settings, order)
        )
    except (psycopg2.OperationalError, UnicodeDecodeError) as error:
        reason = _reason(error)
        if settings.password:
            reason = reason.replace(settings.password, "***")
        raise StorageUnavailableError(
            f"cannot reach PostgreSQL at {settings.dsn_for_display}{settings.named}: "
            f"{reason}"
        ) from error
    try:
        # The server sends its version at the start, so this costs no round trip.
        version = connection.info.parameter_status("server_version") or ""
        refuse_older("PostgreSQL", version, OLDEST_POSTGRES)
    except BaseException:
        connection.close()
        raise
    connection.autocommit = True
    order.note_reached(connection)
    return connection


def require_utf8(connection: Connection, settings: DatabaseSettings) -> None:
    """Raise StorageError if the database cannot store every text.

    The server tells its encoding at the start; a pooler may keep it to itself.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        raise StorageError(
            f"{settings.dsn_for_display}{settings.named} has the encoding {encoding}; "
            "flask-forge-jobs needs UTF8: create the database with ENCODING 'UTF8' "
            "TEMPLATE template0"
        )


def warn_of_unchecked_server(connection: Connection) -> None:
    """Log a warning if a remote server's certificate and name were not checked.

    libpq tells the mode in effect, from our settings, the environment and its files.
    """
    info = connection.info
    mode = info.dsn_parameters.get("sslmode", "unset")
    # PGHOSTADDR leads a name such as localhost to other machines.
    place = info.dsn_parameters.get("hostaddr") or info.host or ""
    if mode == SAFE_MODE or all(map(is_here, place.split(","))):
        return
    logger.warning(
        "PostgreSQL on %s uses sslmode=%s; only %s protects against eavesdropping and "
        "impersonation",
        place,
        mode,
        SAFE_MODE,
    )


def warn_of_other_tables(connection: Connection) -> None:
    """Log a warning if new tables leave others, with their jobs, in another schema.

    Those of another role, or besides a schema that the URL names, are of another
    application.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_schema(), string_agg(schemaname, ', ' ORDER BY schemaname) "
            "FROM pg_catalog.pg_tables "
            "WHERE tablename = 'forge_schema' AND schemaname <> current_schema() "
            "AND tableowner = current_user AND NOT EXISTS ("
            "SELECT FROM pg_catalog.pg_settings "
            "WHERE name = 'search_path' AND source = 'client')"
        )
        ((chosen, others),) = cursor.fetchall()
    if others:
        logger.warning(
            "the tables of the jobs are made anew in the schema %s; those in %s and "
            "their jobs stay unused unless the search_path of the role leads there",
            chosen,
            others,
        )


def is_here(host: str) -> bool:
    """Return whether a host is a Unix socket or this machine."""
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def driver() -> str:
    """Return the name and the version of the driver."""
    # The type stubs lack __version__.
    release: str = vars(psycopg2)["__version__"]
    return f"psycopg2 {release.split(maxsplit=1)[0]}"
