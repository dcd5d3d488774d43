"""A program in a process group of its own, which never outlives the worker.

Signals go to the whole group, so what the program has started ends with it. When the
worker dies, even by SIGKILL, the kernel closes its end of a pipe and kills the group:
nobody in the group has to notice, so a program that hangs ends as well. What leaves the
group, as a daemon does, is out of reach.
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
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)

# A process that SIGKILL does not end within this time hangs in the kernel.
KILL_LIMIT_S = 5.0


def check_platform() -> None:
    """Check that this system can end a group for certain.

    Raises:
        OSError: It is not Linux 5.3 or newer.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise OSError("processes for tasks need Linux 5.3 or newer")


class ProcessGroup:
    """A running program that leads a session and group of its own.

    Args:
        command: The program and its arguments; no shell is involved.
        environ: Its whole environment.
        program: The file to run, when it is not ``command[0]``.
        folder: Its working directory; None keeps ours.
        stdin: As for :class:`subprocess.Popen`; ``stdout`` and ``stderr`` likewise.
        stdout: None keeps ours.
        stderr: None keeps ours.
        pass_fds: Descriptors that it inherits under their numbers.

    Raises:
        OSError: It cannot be started.
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
            theirs, self._lifeline = os.pipe()
            undo.callback(os.close, self._lifeline)
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
        """Wait for the end of the program; return whether it has come.

        The program is not reaped. Not for two threads at once with :meth:`close`.
        """
        poll = select.poll()
        poll.register(self.end_descriptor, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def terminate(self) -> None:
        """Ask everybody in the group to end."""
        with self._lock:
            if not self._has_ended:
                self._signal(signal.SIGTERM)

    def end(self) -> int:
        """Kill whatever is left of the group; any thread may do so.

        Returns:
            The exit status of the program, or the negative number of the signal that
            ended it.
        """
        with self._lock:
            if not self._has_ended:
                self._has_ended = True
                # Before the leader is reaped: until then nobody else gets its number.
                self._signal(signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(KILL_LIMIT_S)
                if self.process.returncode is None:
                    logger.error("process %s hangs in the kernel", self.pid)
        status = self.process.returncode
        return -signal.SIGKILL if status is None else status

    def close(self) -> int:
        """End the group and close every descriptor; for whoever reads from them.

        Returns:
            As :meth:`end`.
        """
        status = self.end()
        os.close(self.end_descriptor)
        os.close(self._lifeline)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was meant for the dead
                    pipe.close()
        return status

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # somebody else has reaped it
        except PermissionError:  # a set-user-ID program
            logger.warning("process %s is another user's; left alone", self.pid)


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

    Unlike PR_SET_PDEATHSIG this reaches the whole group and does not take the end of
    the thread that started the program for the end of the worker. The setting belongs
    to the open pipe, which the program has inherited.
    """
    fcntl.fcntl(reader, fcntl.F_SETOWN, -group)
    fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(reader, fcntl.F_GETFL)
    fcntl.fcntl(reader, fcntl.F_SETFL, flags | os.O_ASYNC)
