"""Runs one worker process in the foreground until a signal stops it.

It stops on SIGTERM or SIGINT, in burst mode once nothing is due, with its parent, and
when a fresh process would be better: a newer package has migrated the database, the
heartbeat is stuck, or tasks that ignore their time limit block too many threads. It
stops on SIGHUP, too, unless ``nohup`` or the application has chosen otherwise.

A service manager may signal every process of a service, so a child may get a signal
twice: from the manager and from its parent. It ignores a repeat within a second. Any
other worker ignores one within 0.2 s: GNU ``timeout`` signals it, and then its group.

Only our own programs install signal handlers, never the extension inside a server. A
handler does almost nothing: the interpreter writes to a pipe that the main thread waits
on, and database calls run on other threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import stat
import termios
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Self

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.variables import PARENT_PIPE_VARIABLE
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import handle_sigterm
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.runtime.worker import RuntimeHandle

logger = get_logger(__name__)

MAX_ABANDONED = 4
EXIT_TAINTED = 75  # EX_TEMPFAIL: a service manager may restart us
EXIT_CHANGED = 3
_OUTPUTS = 1, 2  # standard output and error
_LOOK_PERIOD_S = 1.0
_BURST_LOOK_PERIOD_S = 0.2
_STOPPING = (signal.SIGTERM, signal.SIGINT)
# With it, a parent passes on the second signal; never taken for a repeat.
HURRY = signal.SIGUSR1
EXIT_AT_ONCE = 130
REPEAT_S = 0.2  # too soon for a second signal by a person
CHILD_REPEAT_S = 1.0  # likewise; in between there is a parent
_Handler = Callable[[int, FrameType | None], None]


class _SignalPipe:
    """A pipe to which the interpreter writes each signal."""

    def open(self) -> None:
        """Let signals arrive."""
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        self._before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def close(self) -> None:
        """Restore the former handlers."""
        signal.set_wakeup_fd(self._before)
        os.close(self.reader)
        os.close(self._writer)

    def drain(self) -> None:
        """Forget the signals that have arrived."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.reader, 512):
                pass

    def wake(self) -> None:
        """Wake the reader without a signal."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full, which wakes, too
            os.write(self._writer, b"\0")


def _has_closed(output: int) -> bool:
    """Return whether it is a terminal that has hung up: EIO; a file has ENOTTY."""
    try:
        termios.tcgetattr(output)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False


class StopSignals:
    """Waits for signals in the main thread; a context manager that restores handlers.

    With ``watch_children`` it also wakes when a child ends. A process that has a parent
    also handles ``HURRY``. Signals within ``REPEAT_S``, or ``CHILD_REPEAT_S`` with a
    parent, count as one. The second signal calls ``at_second``; the third, or the
    second if that is None, calls ``at_once`` and ends the process. Neither may block.
    """

    def __init__(
        self,
        *,
        watch_children: bool = False,
        at_once: Callable[[], object] = lambda: None,
        has_parent: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._pipe = _SignalPipe()
        self._handlers: dict[signal.Signals, _Handler] = dict.fromkeys(
            [*_STOPPING, *([HURRY] if has_parent else [])], self._stop
        )
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            self._handlers[signal.SIGHUP] = self._stop
        if watch_children:
            self._handlers[signal.SIGCHLD] = _notice
        self._at_once = at_once
        self._repeat_s = CHILD_REPEAT_S if has_parent else REPEAT_S
        self._clock = clock or SystemClock()
        self._repeats_until = 0.0
        self.at_second: Callable[[], object] | None = None
        self.is_stopping = False
        self.is_hurried = False

    def __enter__(self) -> Self:
        self._pipe.open()
        self._before = {
            number: signal.signal(number, handler)
            for number, handler in self._handlers.items()
        }
        handle_sigterm(self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not installed from Python cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._pipe.close()

    @staticmethod
    def leave_terminal() -> None:
        """Drop later output if the terminal has closed.

        It is an error to write there, which would fail the tasks that print.
        """
        for number in filter(_has_closed, _OUTPUTS):
            with contextlib.suppress(OSError):  # the process stops all the same
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            self.leave_terminal()
        now = self._clock.monotonic()
        is_first = not (self.is_stopping or number == HURRY)
        self.is_stopping = True
        if not is_first:
            # A terminal hangs up twice: its shell does, and then the kernel.
            if number == signal.SIGHUP:
                return
            if now < self._repeats_until and number != HURRY:
                return
            self._hurry()
        self._repeats_until = now + self._repeat_s

    def _hurry(self) -> None:
        if self.at_second is not None and not self.is_hurried:
            self.is_hurried = True
            self.at_second()
            return
        try:
            self._at_once()
        finally:
            os._exit(EXIT_AT_ONCE)

    def wait(
        self, timeout_s: float | None = None, descriptors: Sequence[int] = ()
    ) -> list[int]:
        """Wait for a signal, a readable descriptor or the timeout, None for no timeout.

        Return the descriptors that are readable.
        """
        ready, _, _ = select.select(
            [self._pipe.reader, *descriptors], [], [], timeout_s
        )
        if self._pipe.reader in ready:
            self._pipe.drain()
        return [number for number in ready if number != self._pipe.reader]

    def wait_during(self, work: Callable[[], object]) -> None:
        """Do work on another thread while this one handles signals.

        A wait for a lock could miss a signal that comes just before it; the pipe
        cannot.
        """
        with ThreadPoolExecutor(1, "stop") as pool:
            future = pool.submit(work)
            future.add_done_callback(lambda _: self._pipe.wake())
            while not future.done():
                self.wait()
            future.result()


def _notice(number: int, frame: FrameType | None) -> None:
    """Do nothing; the interpreter has written to the pipe."""
    del number, frame


def parent_pipe(environ: Mapping[str, str]) -> int | None:
    """Return the pipe that closes when the parent stops or dies, or None."""
    text = environ.get(PARENT_PIPE_VARIABLE, "")
    if not text.isdigit():
        return None
    try:
        mode = os.fstat(int(text)).st_mode
    except OSError:
        return None  # a program that a task started inherits only the variable
    return int(text) if stat.S_ISFIFO(mode) else None


def run_in_foreground(
    runtime: QueueRuntime,
    *,
    grace_s: float,
    burst: bool = False,
    changed: Callable[[], str | None] = lambda: None,
    leave: Callable[[int], object] = lambda _: None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run a worker process until a signal stops it.

    Args:
        runtime: Configured and not started.
        grace_s: Seconds that running tasks get to finish.
        burst: Also stop once no job runs here and none can start now.
        changed: Also stop, with status 3, once it names a changed file.
        leave: Called at the end with the status, while a further signal still ends the
            process at once.
        environ: May name the parent's pipe.

    Returns:
        The exit status: 0, 75 if the process should be replaced, or 130 after a second
        signal, which ends the grace: jobs that still run go back to their queues.
    """
    pipe = parent_pipe(environ)
    if pipe is not None:
        runtime.with_parent(os.getppid())
    descriptors = [] if pipe is None else [pipe]
    with StopSignals(has_parent=pipe is not None) as signals:
        status = 0
        # It may get a signal to stop while the application is loading.
        if not (signals.wait(0.0, descriptors) or signals.is_stopping):
            handle = runtime.start()
            signals.at_second = handle.hurry
            status = _wait(signals, handle, descriptors, burst=burst, changed=changed)
            _stop(signals, handle, grace_s)
            signals.at_second = None  # all jobs have been given back
        # It may get a signal to stop while it waits to restart.
        if signals.is_stopping and status == EXIT_CHANGED:
            status = 0
        status = EXIT_AT_ONCE if signals.is_hurried else status
        leave(status)
    return status


def _stop(signals: StopSignals, handle: RuntimeHandle, grace_s: float) -> None:
    # Without a heartbeat, other workers have its jobs by now: do not wait.
    longest_s = 0.0 if handle.is_stuck else grace_s
    signals.leave_terminal()  # a child gets no SIGHUP
    handle.stop_claiming()  # so that the message is true
    if running := len(handle.running()):
        logger.info(
            "stopping; waiting up to %g s for %s running jobs; signal again to "
            "return them to the queue now",
            longest_s,
            running,
        )
    else:
        logger.info("stopping; no job is running")
    signals.wait_during(lambda: handle.shutdown_graceful(longest_s))


def _wait(
    signals: StopSignals,
    handle: RuntimeHandle,
    descriptors: Sequence[int],
    *,
    burst: bool,
    changed: Callable[[], str | None],
) -> int:
    while not signals.is_stopping:
        period_s = _BURST_LOOK_PERIOD_S if burst else _LOOK_PERIOD_S
        if signals.wait(period_s, descriptors):
            logger.info("the parent process is stopping or gone")
            return 0
        if reason := reason_to_stop(handle):
            logger.error("stopping: %s", reason)
            return EXIT_TAINTED
        if file := changed():
            logger.info("%s has changed; restarting", file)
            return EXIT_CHANGED
        if burst and _is_done(handle):
            logger.info("no job can start now; stopping")
            return 0
    return 0


def reason_to_stop(handle: RuntimeHandle) -> str | None:
    """Return why a fresh worker would be better, or None."""
    if handle.abandoned_count >= MAX_ABANDONED:
        return "too many tasks ignore their time limit"
    if handle.is_stuck:
        return "the heartbeat or the dispatcher is stuck"
    if handle.is_outdated:
        return "a newer package has migrated the database"
    return None


def _is_done(handle: RuntimeHandle) -> bool:
    try:
        if handle.has_work():
            return False
        # The end of a batch stores jobs. Others may be at it, or have left it.
        return not handle.storage.batches.fold_changed() and not handle.has_work()
    except StorageError:  # the dispatcher logs it and keeps trying
        return False
