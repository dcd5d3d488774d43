"""PgBouncer in transaction mode in front of a server of one's own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from tests.support.cluster import DATABASE, ROLE, Cluster
from tests.support.waiting import wait_until

PORT = 6432  # of its socket; nothing listens on the network
_SBIN = "/usr/sbin:/usr/local/sbin"
_SETTINGS = """\
[databases]
{database} = host={host} dbname={database} user={role}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
admin_users = {role}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
logfile = {folder}/log
pidfile = {folder}/pid
"""


class Pooler:
    """One PgBouncer.

    Args:
        cluster: The server behind it.
        folder: Where its files come; short, for it holds a socket too.
        size: Connections that it keeps to the server.
    """

    def __init__(self, cluster: Cluster, folder: Path, *, size: int) -> None:
        self._folder = folder
        values = {
            "database": DATABASE, "role": ROLE, "host": cluster.host,
            "port": PORT, "folder": folder, "size": size,
        }  # fmt: skip
        settings = folder / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(**values), "utf-8")
        (folder / "users").write_text(f'"{ROLE}" ""\n', "utf-8")
        self._process = subprocess.Popen(
            [_program(), "-q", str(settings)],
            stdin=subprocess.DEVNULL,
            user=_owner_of(folder, cluster),
        )
        wait_until(self._answers, "PgBouncer takes connections")

    @property
    def url(self) -> str:
        """The address of the database by way of it."""
        return f"postgresql:///{DATABASE}?host={self._folder}&port={PORT}&user={ROLE}"

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "log").read_text("utf-8")

    def _answers(self) -> bool:
        try:
            self.ask("SHOW VERSION")
        except psycopg2.OperationalError:
            assert self._process.poll() is None, "PgBouncer did not start"
            return False
        return True

    def ask(self, command: str) -> list[dict[str, Any]]:
        """Ask its console; return the rows by name of column."""
        connection = psycopg2.connect(
            host=str(self._folder), port=PORT, user=ROLE, dbname="pgbouncer"
        )
        connection.autocommit = True  # it knows no transactions
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(command)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def close(self) -> None:
        """Stop it at once; asked politely it would wait for its last client."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()


def _program() -> str:
    """Find PgBouncer.

    Raises:
        RuntimeError: It is not installed; the message says how to.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    found = shutil.which("pgbouncer", path=path)
    if found is None:
        raise RuntimeError(
            "this fault needs PgBouncer, which is not installed: "
            "apt-get install -y pgbouncer"
        )
    return found


def _owner_of(folder: Path, cluster: Cluster) -> str | None:
    """Give a folder to the user of the server; it refuses to run as root."""
    owner = cluster.system_user
    if owner is not None:
        entry = pwd.getpwnam(owner)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        for each in folder.iterdir():
            os.chown(each, entry.pw_uid, entry.pw_gid)
    return owner


@contextlib.contextmanager
def pooled(cluster: Cluster, *, size: int = 8) -> Iterator[Pooler]:
    """Run PgBouncer in front of a server.

    Raises:
        RuntimeError: It is not installed; the message says how to.
    """
    with tempfile.TemporaryDirectory(prefix="forge-pooler-") as folder:
        pooler = Pooler(cluster, Path(folder), size=size)
        try:
            yield pooler
        finally:
            pooler.close()
