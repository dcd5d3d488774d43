"""A program in its own process group, which never outlives the worker.

Signals go to the whole group, so processes that the program has started end with it.
When the worker dies, even by SIGKILL, the kernel closes a pipe and kills the group,
also if the program hangs. Children that the worker has forked do not keep the pipe
open, unless C code forked them. Processes that leave the group, such as daemons, are
out of reach.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from flask_forge_jobs.forks import private_pipe
from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)

KILL_LIMIT_S = 5.0  # a process that survives SIGKILL for longer hangs in the kernel
# A service manager may send them to every process of a worker.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def check_platform() -> None:
    """Raise OSError unless this is Linux 5.3 or newer, which can end a group safely."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise OSError("processes for tasks need Linux 5.3 or newer")


class ProcessGroup:
    """A running program that leads its own session and group.

    The arguments are those of :class:`subprocess.Popen`; ``program`` is the file to run
    if it is not ``command[0]``.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        program: str | None = None,
        folder: Path | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Collection[int] = (),
    ) -> None:
        check_platform()
        self._lock = threading.Lock()
        self._has_ended = False
        with contextlib.ExitStack() as undo:
            theirs, self._lifeline = private_pipe()
            undo.callback(self._lifeline.close)
            try:
                self.process = subprocess.Popen(  # noqa: S603  # never through a shell
                    list(command),
                    executable=program,
                    env=dict(environ),
                    cwd=folder,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=(theirs, *pass_fds),
                    start_new_session=True,
                )
                undo.enter_context(self.process)
                undo.callback(self.process.kill)
                _kill_at_hang_up(theirs, self.process.pid)
            finally:
                os.close(theirs)
            # Readable once the program has ended.
            self.end_descriptor = os.pidfd_open(self.process.pid)
            undo.pop_all()

    @property
    def pid(self) -> int:
        """The id of the program and of its group."""
        return self.process.pid

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the program without reaping it; return whether it ended.

        Do not call it while another thread calls :meth:`close`.
        """
        poll = select.poll()
        poll.register(self.end_descriptor, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def terminate(self) -> None:
        """Send SIGTERM to the group."""
        with self._lock:
            if not self._has_ended:
                self._signal(signal.SIGTERM)

    def end(self) -> int:
        """Kill the group, from any thread; return the status as Popen does."""
        with self._lock:
            if not self._has_ended:
                self._has_ended = True
                # Before the leader is reaped, after which its number may be reused.
                self._signal(signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(KILL_LIMIT_S)
                if self.process.returncode is None:
                    logger.error("process %s hangs in the kernel", self.pid)
        status = self.process.returncode
        return -signal.SIGKILL if status is None else status

    def close(self) -> int:
        """End the group and close every descriptor; return as :meth:`end` does."""
        status = self.end()
        os.close(self.end_descriptor)
        self._lifeline.close()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # unwritten data
                    pipe.close()
        return status

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # it was reaped elsewhere
        except PermissionError:  # a set-user-ID program
            logger.warning("process %s belongs to another user; ignored", self.pid)


def end_with_parent() -> None:
    """Kill the group of this process when its parent ends, by a thread that watches it.

    For a program of ours that :class:`ProcessGroup` has started: this works even if a
    child that C code forked keeps the worker's pipe open, but not if the program hangs
    in C.
    """
    parent = os.pidfd_open(os.getppid())

    def watch() -> None:
        poll = select.poll()
        poll.register(parent, select.POLLIN)
        poll.poll()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="forge-jobs-parent", daemon=True).start()


@contextlib.contextmanager
def holding_stop_signals() -> Iterator[None]:
    """Let programs that this thread starts get no stop signal while they load.

    They get it once they call :func:`ignore_stop_signals`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stop_signals() -> None:
    """Ignore stop signals that have no handler yet, and no longer hold them back.

    Unlike SIG_IGN, this does not pass to programs that the process starts.
    """
    for number in STOP_SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _ignore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _ignore(number: int, frame: FrameType | None) -> None:
    del number, frame


def describe_status(status: int) -> str:
    """Return how a process ended, such as ``was killed by signal 9 (SIGKILL)``."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # a real-time signal
        return f"was killed by signal {-status}"
    return f"was killed by signal {-status} ({name})"


def _kill_at_hang_up(reader: int, group: int) -> None:
    """Let the kernel kill a group when the last writer of a pipe is gone.

    Unlike PR_SET_PDEATHSIG, this reaches the whole group and does not fire when only
    the starting thread ends. The setting belongs to the pipe that the program inherits.
    """
    fcntl.fcntl(reader, fcntl.F_SETOWN, -group)
    fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(reader, fcntl.F_GETFL)
    fcntl.fcntl(reader, fcntl.F_SETFL, flags | os.O_ASYNC)
