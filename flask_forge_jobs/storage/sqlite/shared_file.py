"""The application's own connections to the file of the jobs.

With the WAL-reset bug an automatic checkpoint of one connection can collide with a
commit of another. Ours leave every checkpoint to the gate; the application has to
configure its own.

A view that has flushed its session holds the write lock until it commits. If it then
enqueues without ``connection=``, the enqueue waits for that lock for ever. SQLite does
not detect this, so after a long wait a writer looks for connections of its own thread.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.loaded import objects_of
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.caller_transaction import FIELD, look_below, refuse
from flask_forge_jobs.storage.sqlite.checkpoint import has_wal_reset_bug
from flask_forge_jobs.storage.sqlite.files import is_same_file
from flask_forge_jobs.storage.sqlite.join import plain_cursor, require_same_file

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
        if _checkpoints(engine)
    )


def _engines(path: Path) -> Iterator[Any]:
    core = sys.modules.get("sqlalchemy")
    if core is None:
        return
    for each in objects_of(core.Engine):
        # Engines with options of their own share the connections of one of these.
        if type(each) is not core.Engine:
            continue
        file = each.url.database
        if each.dialect.name == "sqlite" and file and is_same_file(Path(file), path):
            yield each


def _checkpoints(engine: Any) -> bool:
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


def refuse_own_lock(path: Path) -> None:
    """Raise InvalidInputError if a transaction of this thread has the file locked."""
    if not any(_holds(connection, path) for connection in _of_this_thread()):
        return
    raise refuse(
        "an open transaction of this thread has locked the database of the jobs, so "
        "this call would wait for ever; commit first, or store the job in that "
        f"transaction, for instance with options({FIELD}=db.session)"
    )


def _holds(connection: sqlite3.Connection, path: Path) -> bool:
    try:
        require_same_file(connection, path)
        return _has_begun(connection) and _writes(connection)
    except (InvalidInputError, sqlite3.Error):
        return False


def _has_begun(connection: sqlite3.Connection) -> bool:
    try:
        return connection.in_transaction
    except sqlite3.ProgrammingError:
        return False  # closed


def _writes(connection: sqlite3.Connection) -> bool:
    """Whether its transaction has the write lock, or gets it at once."""
    # A closed connection stays open as long as one of its statements does.
    with contextlib.closing(plain_cursor(connection)) as cursor:
        [(limit_ms,)] = cursor.execute("PRAGMA busy_timeout").fetchall()
        [(version,)] = cursor.execute("PRAGMA user_version").fetchall()
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            cursor.execute(f"PRAGMA user_version = {version}")  # the smallest write
        except sqlite3.OperationalError:
            return False
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {limit_ms}")
    return True


def _of_this_thread() -> Iterator[sqlite3.Connection]:
    """Yield connections with a transaction that only this thread can end."""
    core, orm = sys.modules.get("sqlalchemy"), sys.modules.get("sqlalchemy.orm")
    scoped = () if orm is None else (orm.scoped_session,)
    begun = () if core is None or orm is None else (core.Connection, orm.Session)
    for each in objects_of(sqlite3.Connection, *scoped):
        if not isinstance(each, sqlite3.Connection):
            with contextlib.suppress(Exception):  # no application context
                if each.registry.has():
                    yield from _below(each.registry())
        elif _has_begun(each) and _is_bound_here(each):
            yield each
    for each in _in_variables((sqlite3.Connection, *begun)):
        if isinstance(each, sqlite3.Connection):
            yield each
        else:
            yield from _below(each)


def _in_variables(kinds: tuple[type, ...]) -> list[Any]:
    """Return objects in local variables of this thread's calls."""
    objects: list[Any] = []
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  # there is no other way
    while frame is not None:
        if frame.f_globals is not globals():  # skip our own variables
            values = list(frame.f_locals.values())
            objects += [each for each in values if issubclass(type(each), kinds)]
        frame = frame.f_back
    return objects


def _below(given: Any) -> Iterator[sqlite3.Connection]:
    """Yield the driver's connection of a SQLAlchemy object with a transaction."""
    with contextlib.suppress(Exception):  # a session with several engines
        if given.in_transaction():
            driver = look_below(given).driver
            if isinstance(driver, sqlite3.Connection):
                yield driver


def _is_bound_here(connection: sqlite3.Connection) -> bool:
    """Whether only this thread may use a connection."""
    refusals: list[bool] = []

    def touch() -> None:
        try:
            connection.cursor()
        except sqlite3.ProgrammingError:
            refusals.append(True)
        else:
            refusals.append(False)

    touch()
    other = threading.Thread(target=touch)
    other.start()
    other.join()
    return refusals == [False, True]
