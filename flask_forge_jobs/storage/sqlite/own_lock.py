"""Detects a thread that deadlocks with itself.

A view that has flushed its session holds the write lock until it commits. If it then
enqueues without ``connection=``, the enqueue waits for that lock for ever. SQLite does
not detect this, so after a long wait a writer looks for connections of its own thread.
"""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.storage.caller_transaction import FIELD, look_below, refuse
from flask_forge_jobs.storage.sqlite.join import plain_cursor, require_same_file


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
    for each in _alive((sqlite3.Connection, *scoped)):
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


def _alive(kinds: tuple[type, ...]) -> list[Any]:
    # isinstance() would resolve proxies. The list of all objects must be gone before
    # one is used, because it keeps closed connections open.
    return [each for each in gc.get_objects() if issubclass(type(each), kinds)]


def _in_variables(kinds: tuple[type, ...]) -> list[Any]:
    """Return objects in local variables of this thread's calls."""
    found: list[Any] = []
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  # there is no other way
    while frame is not None:
        if frame.f_globals is not globals():  # skip our own variables
            values = list(frame.f_locals.values())
            found += [each for each in values if issubclass(type(each), kinds)]
        frame = frame.f_back
    return found


def _below(given: Any) -> Iterator[sqlite3.Connection]:
    """Yield the driver's connection of a SQLAlchemy object with a transaction."""
    with contextlib.suppress(Exception):  # a session with several engines
        if given.in_transaction():
            found = look_below(given).driver
            if isinstance(found, sqlite3.Connection):
                yield found


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
