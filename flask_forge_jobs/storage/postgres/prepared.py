"""Statements that a session plans once: long ones that a page reads again and again.

Their plan does not depend on the values. Only a session that no pooler shares keeps
any: the next transaction behind a pooler may get another session.
"""

from __future__ import annotations

import re
from functools import cache

from psycopg2.errors import (
    DuplicatePreparedStatement,
    FeatureNotSupported,
    InvalidSqlStatementName,
)
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class

from flask_forge_jobs.storage.catalogue import Statement
from flask_forge_jobs.storage.postgres.connection import Session

# Otherwise the server weighs five plans that depend on the values, and may go on so.
_BY_ANY_VALUES = "SET LOCAL plan_cache_mode = force_generic_plan"
# Somebody has reset the session, or shares it; or a column has got another type since a
# statement was prepared.
PLAN_ERRORS = (InvalidSqlStatementName, DuplicatePreparedStatement, FeatureNotSupported)
_PARAMETER = re.compile(r"%\((\w+)\)s")


def prepared(
    connection: Connection, cursor: Cursor, statement: Statement
) -> str | None:
    """Return the SQL that runs a statement as the session has planned it.

    It takes the parameters of the statement; None means to run the statement itself.
    """
    if not isinstance(connection, Session) or not connection.is_configured:
        return None
    known = connection.prepared.get(statement.name)
    if known is None:
        # A new name each time: after an interruption the session may have the last one.
        connection.named += 1
        name = f"forge_{statement.name}_{connection.named}"
        text, arguments = _with_places(statement.sql)
        cursor.execute(f"PREPARE {name} AS {text}")
        known = f"{_BY_ANY_VALUES};\nEXECUTE {name}{arguments}"
        connection.prepared[statement.name] = known
    return known


def forget_settings(connection: Connection) -> None:
    """Take a session as one that a pooler shares, which keeps no plans."""
    if isinstance(connection, Session):
        connection.is_configured = False


@cache
def _with_places(sql: str) -> tuple[str, str]:
    """Return a statement with numbered parameters, and these by name."""
    names = list(dict.fromkeys(_PARAMETER.findall(sql)))
    text = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", sql)
    named = ", ".join(f"%({name})s" for name in names)
    return text.replace("%%", "%"), f" ({named})" if named else ""
