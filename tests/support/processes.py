"""Other Python processes that use the same database."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from flask_forge_jobs.config.database import DatabaseSettings
from tests.support.waiting import wait_until

_PROLOGUE = """
import pathlib, sys
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import open_storage
backend, host, port, database, user, password, path = sys.argv[1:8]
settings = DatabaseSettings(
    backend=backend, host=host or None, port=int(port), database=database or None,
    username=user or None, password=password or None,
    path=pathlib.Path(path) if path else None,
)
storage = open_storage(settings)
"""

# Nothing takes this long; it only turns a hang into a failure.
LIMIT_S = 60.0


def start_python(
    settings: DatabaseSettings, script: str, *arguments: str
) -> subprocess.Popen[str]:
    """Start a process that runs a script with an open ``storage``.

    Args:
        settings: The database.
        script: Python text; ``storage`` and ``sys.argv[8:]`` are there.
        arguments: Further arguments.
    """
    return subprocess.Popen(
        [
            sys.executable, "-c", _PROLOGUE + script,
            settings.backend, settings.host or "", str(settings.port),
            settings.database or "", settings.username or "",
            settings.password or "", str(settings.path or ""), *arguments,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def output_of(process: subprocess.Popen[str], limit_s: float = 60.0) -> str:
    """Wait for a process; its output, or an error when it failed."""
    output, errors = process.communicate(timeout=limit_s)
    assert (process.returncode, errors) == (0, ""), errors
    return output


def fork_in_c() -> int:
    """Fork as a server written in C does: Python runs no hook of its own."""
    usual_s = sys.getswitchinterval()
    # The child has no other thread to hand the interpreter's lock to, so none may
    # request it now; a thread that already has gets it within a moment.
    sys.setswitchinterval(LIMIT_S)
    try:
        time.sleep(2 * usual_s)
        # PyDLL keeps the lock, which the child could never take again.
        return int(ctypes.PyDLL(None).fork())
    finally:
        sys.setswitchinterval(usual_s)


def fork_with_terminal() -> int:
    """Fork by ``os.forkpty()``; the terminal stays open, else it would hang up."""
    pid, _ = os.forkpty()
    return pid


class Peer:
    """One end of a conversation between a parent and its child."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(LIMIT_S)
        self._end = end
        self._lines = end.makefile(encoding="utf-8")

    def say(self, text: str = "go on") -> None:
        """Send a line."""
        self._end.sendall(f"{text}\n".encode())

    def hear(self) -> str:
        """Wait for a line; empty when the other one is gone."""
        return self._lines.readline().rstrip("\n")


class Child(Peer):
    """A forked process that runs a function.

    It leaves without running any clean-up of the test runner.

    Args:
        work: Called in the child with its end of the conversation.
        fork: Forks; returns 0 in the child.
    """

    def __init__(
        self, work: Callable[[Peer], object], fork: Callable[[], int] = os.fork
    ) -> None:
        ours, theirs = socket.socketpair()
        with warnings.catch_warnings():
            # A fork with several threads is what these tests are about.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = fork()
        if self.pid == 0:
            ours.close()
            _run_and_leave(lambda: work(Peer(theirs)))
        theirs.close()
        super().__init__(ours)

    def end(self) -> int:
        """Wait for its end and return its exit status, 0 when all is well."""
        self._lines.close()
        self._end.close()
        ended: list[int] = []

        def has_ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            ended.extend([status] if pid else [])
            return bool(ended)

        try:
            wait_until(has_ended, "the child has ended", 2 * LIMIT_S)
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise
        return os.waitstatus_to_exitcode(ended[0])


def _run_and_leave(work: Callable[[], object]) -> NoReturn:
    # No wait for a lock is in vain: the kernel releases it when its holder ends.
    signal.alarm(int(LIMIT_S))
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001  # shown, and told by the exit status
        traceback.print_exc()
    finally:
        os._exit(status)


def in_child(work: Callable[[], object], fork: Callable[[], int] = os.fork) -> int:
    """Run a function in a forked child and return its exit status, 0 when all is well.

    The child leaves without running any clean-up of the test runner.
    """
    return Child(lambda _: work(), fork).end()


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[0] != "Z"


def suspend(pid: int) -> None:
    """Stop a process and wait until each of its threads has stopped."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: set(_states(pid)) == {"T"}, f"process {pid} has stopped")


def _states(pid: int) -> Iterator[str]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield (task / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
