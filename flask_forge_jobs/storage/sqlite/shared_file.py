"""The application's own connections to the file of the jobs.

With the WAL-reset bug an automatic checkpoint of one connection can collide with a
commit of another. Ours leave every checkpoint to the gate; the application has to
configure its own.
"""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.sqlite.checkpoint import has_wal_reset_bug
from flask_forge_jobs.storage.sqlite.files import is_same_file
from flask_forge_jobs.storage.sqlite.join import plain_cursor

logger = get_logger(__name__)
_REMEDY = (
    "can damage the file with SQLite "
    f"{sqlite3.sqlite_version} (https://sqlite.org/wal.html#walresetbug); call "
    "flask_forge_jobs.sqlite.disable_autocheckpoint at each connect"
)


def disable_autocheckpoint(
    connection: object, connection_record: object = None
) -> None:
    """Leave the checkpoints of a shared SQLite file to the jobs.

    Call it with each sqlite3 connection that you open to the file of the jobs, or let
    SQLAlchemy do so::

        event.listen(db.engine, "connect", disable_autocheckpoint)

    It does nothing with a SQLite version that lacks the WAL-reset bug (3.7.0 to 3.51.2,
    except 3.44.6 and 3.50.7), or with a connection of another driver.

    Args:
        connection: A newly opened connection.
        connection_record: The second argument of SQLAlchemy's event; ignored.
    """
    del connection_record
    if isinstance(connection, sqlite3.Connection) and has_wal_reset_bug():
        connection.execute("PRAGMA wal_autocheckpoint = 0").close()


def _autocheckpoints(connection: sqlite3.Connection) -> bool:
    if not has_wal_reset_bug():
        return False
    with contextlib.closing(plain_cursor(connection)) as cursor:
        return bool(cursor.execute("PRAGMA wal_autocheckpoint").fetchone()[0])


_warned: set[Path] = set()


def warn_of_autocheckpoint(connection: sqlite3.Connection, path: Path | None) -> None:
    """Warn, once a file, about a caller's connection with automatic checkpoints."""
    if path is None or path in _warned or not _autocheckpoints(connection):
        return
    _warned.add(path)
    logger.warning(
        "a connection passed as connection= checkpoints %s itself, which %s",
        path,
        _REMEDY,
    )


def engine_hazards(path: Path) -> tuple[str, ...]:
    """Return a warning for each SQLAlchemy engine with automatic checkpoints.

    Opens and closes a connection of each engine of this process to the file.
    """
    if not has_wal_reset_bug():
        return ()
    return tuple(
        f"connections of the engine {engine.url!r} checkpoint {path} themselves, which "
        f"{_REMEDY}"
        for engine in _engines(path)
        if _is_told_nothing(engine)
    )


def _engines(path: Path) -> Iterator[Any]:
    core = sys.modules.get("sqlalchemy")
    if core is None:
        return
    # isinstance() would resolve proxies.
    for each in [each for each in gc.get_objects() if type(each) is core.Engine]:
        file = each.url.database
        if each.dialect.name == "sqlite" and file and is_same_file(Path(file), path):
            yield each


def _is_told_nothing(engine: Any) -> bool:
    # Ignores a database that the application cannot open.
    with contextlib.suppress(Exception):
        # The engine's own pool may be exhausted, or have one connection for everybody.
        pool = engine.pool.recreate()
        try:
            with contextlib.closing(pool.connect()) as pooled:
                driver = pooled.dbapi_connection
                return isinstance(driver, sqlite3.Connection) and _autocheckpoints(
                    driver
                )
        finally:
            pool.dispose()  # closes it: a fork must find the file closed
    return False
