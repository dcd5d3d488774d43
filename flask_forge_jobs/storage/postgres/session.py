"""What PostgreSQL is told of a transaction: once a session, or with each of them.

Behind a pooler a session is anybody's, so a transaction brings what it needs. A session
of our own is told once, which saves a call up to seven statements.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

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
