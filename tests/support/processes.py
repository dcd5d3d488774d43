"""Other Python processes that use the same database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from flask_forge_jobs.config.database import DatabaseSettings
from tests.support.runtimes import wait_until

_PROLOGUE = """
import pathlib, sys
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Settlement
from flask_forge_jobs.storage.connect import open_storage
backend, host, port, database, user, password, path = sys.argv[1:8]
settings = DatabaseSettings(
    backend=backend, host=host or None, port=int(port), database=database or None,
    username=user or None, password=password or None,
    path=pathlib.Path(path) if path else None,
)
storage = open_storage(settings)
"""


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
    assert (process.returncode, errors) == (0, "")
    return output


def in_child(work: Callable[[], object]) -> int:
    """Run a function in a forked child and return its exit status, 0 when all is well.

    The child leaves without running any clean-up of the test runner.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001  # shown, and told by the exit status
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has reaped yet does not."""
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
