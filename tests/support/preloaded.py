"""Programs that are forks of a process which has loaded what they import.

To import Flask and the package takes most of the time of a program that runs one job. A
fork does what ``python -m`` does from there on: with its arguments, environment, folder
and output, it runs the module as the main one, and ends as an interpreter does.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
# By the module that is run: what its process loads. Not the module itself.
_LOADED = {
    "flask": (
        "flask.cli", "flask_forge_jobs.cli.worker", "flask_forge_jobs.extension",
        "flask_forge_jobs.storage.postgres.database",
        "flask_forge_jobs.storage.sqlite.database",
    ),
    "flask_forge_jobs.server": (
        "gunicorn.app.base", "flask_forge_jobs.cli.group",
        "flask_forge_jobs.dashboard.warm_up", "flask_forge_jobs.server_worker",
        "flask_forge_jobs.storage.postgres.database",
        "flask_forge_jobs.storage.sqlite.database",
    ),
}  # fmt: skip
_LONGEST_REQUEST = 1 << 17


class Fork:
    """A process, with what tests use of :class:`subprocess.Popen`.

    Args:
        module: Run as after ``python -m``.
        arguments: Of the program.
        environ: Its environment; the path to import from is that of the tests.
        folder: Its working directory.
    """

    def __init__(
        self, module: str, *arguments: str, environ: Mapping[str, str], folder: Path
    ) -> None:
        request = json.dumps([arguments, dict(environ), str(folder)]).encode()
        output, written = os.pipe()
        reports, reported = os.pipe()
        socket.send_fds(_server_of(module), [request], [written, reported])
        os.close(written)
        os.close(reported)
        self.stdout = os.fdopen(output, errors="replace")
        self._reports = os.fdopen(reports)
        self.pid = int(self._reports.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status."""
        if self.returncode is None:
            if not select.select([self._reports], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a fork", timeout or 0)
            self.returncode = int(self._reports.readline())
            self._reports.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            # Its end may not have been reported yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


@cache
def _server_of(module: str) -> socket.socket:
    """Start the process that forks for a module; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _LONGEST_REQUEST)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, module, str(theirs.fileno())],
        env=os.environ | {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"},
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(module: str, channel: socket.socket) -> None:
    """Fork for each request; return in the fork, as the program that was asked for."""
    for name in _LOADED[module]:
        import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, _LONGEST_REQUEST, 2)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # whatever keepers have ended
                pass
        if not request:
            os._exit(0)
        if os.fork() == 0:
            break
        for each in descriptors:
            os.close(each)
    output, reports = descriptors
    channel.close()
    pid = os.fork()
    if pid:
        _keep(pid, output, reports)
    os.close(reports)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments, environ, folder = json.loads(request)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.path[0] = folder
    sys.argv[1:] = arguments


def _keep(pid: int, output: int, reports: int) -> None:
    """Report the id and the end of a process, and exit."""
    os.close(output)
    with contextlib.suppress(BrokenPipeError):  # no test listens any more
        os.write(reports, f"{pid}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(reports, f"{status}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    _, _module, _descriptor = sys.argv
    _serve(_module, socket.socket(fileno=int(_descriptor)))
    runpy.run_module(_module, run_name="__main__", alter_sys=True)
