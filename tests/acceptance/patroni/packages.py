"""What the driver needs of Debian, and how its programs are started and ended."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

# Patroni finds no etcd without the two modules, which it merely recommends.
PACKAGES = (
    "patroni", "python3-etcd", "python3-dnspython", "etcd-server", "haproxy",
    "pgbouncer", "postgresql",
)  # fmt: skip
PROGRAMS = ("patroni", "etcd", "haproxy", "pgbouncer")
USER = "postgres"
_SBIN = "/usr/sbin:/usr/local/sbin"
_SERVERS = Path("/usr/lib/postgresql")
END_LIMIT_S = 20.0


class MissingError(RuntimeError):
    """Something is not installed; the message says how to install it."""


def program(name: str) -> str:
    """Return the path of a program; Debian keeps some of them in ``/usr/sbin``.

    Raises:
        MissingError: It is not installed.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    found = shutil.which(name, path=path)
    if found is None:
        raise _missing(name)
    return found


def server_programs() -> Path:
    """Return the folder of PostgreSQL's own programs, of the newest version."""
    folders = sorted(_SERVERS.glob("*/bin/postgres"), key=lambda path: path.parts[-3])
    if not folders:
        raise _missing("postgres")
    return folders[-1].parent


def require_all() -> None:
    """Raise MissingError unless everything is installed."""
    for name in PROGRAMS:
        program(name)
    server_programs()


def _missing(name: str) -> MissingError:
    return MissingError(
        f"this driver needs {name}, which is not installed; on Debian: apt-get install "
        f"-y --no-install-recommends {' '.join(PACKAGES)} (no service needs to run)"
    )


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody uses."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


class Programs:
    """The programs of one cluster, by name; each logs to a file of its own.

    Neither PostgreSQL nor PgBouncer runs as root, so for root all of them run as
    ``postgres``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam(USER)
            self._user = {"user": entry.pw_uid, "group": entry.pw_gid}
            self._user["extra_groups"] = []
            folder.chmod(0o755)
            os.chown(folder, entry.pw_uid, entry.pw_gid)

    def write(self, name: str, text: str) -> Path:
        """Write a file that the programs may read, and nobody else."""
        path = self._folder / name
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        if self._user:
            os.chown(path, self._user["user"], self._user["group"])
        return path

    def start(self, name: str, *command: str) -> None:
        """Start a program."""
        path = f"{server_programs()}:{_SBIN}:/usr/bin:/bin"
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={"PATH": path, "HOME": str(self._folder), "LANG": "C.UTF-8"},
                start_new_session=True,
                **self._user,
            )

    def pids(self, name: str) -> list[int]:
        """Return a program's process and its descendants; none if it has ended."""
        process = self._running.get(name)
        if process is None or process.poll() is not None:
            return []
        return [process.pid, *descendants(process.pid)]

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a program and wait for it."""
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    try:
        return [each.pid for each in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
