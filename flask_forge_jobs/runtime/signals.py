"""SIGTERM and SIGINT become a request to stop; the second one is in more of a hurry.

A service manager may ask every process of a service, and who is one of several may hear
of one wish more than once: for them a repeat within a second is no second wish.

Installed by the programs only, never by the extension inside somebody else's server.
The handler does next to nothing: the main thread waits on a pipe that the interpreter
writes to, and every database call is on another thread.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType, TracebackType
from typing import Self

from flask_forge_jobs.clock import Clock, SystemClock

_STOPPING = (signal.SIGTERM, signal.SIGINT)
# By it a parent passes the second signal on to a process that may have had one already.
HURRY = signal.SIGUSR1
EXIT_AT_ONCE = 130
# Within this time nobody has seen what the first signal does.
REPEAT_S = 1.0


class StopSignals:
    """Waits for a signal in the main thread.

    Use it as a context manager; the handlers that were there before come back at the
    end.

    Args:
        watch_children: Wake up as well when a child process ends.
        at_once: Called before the last signal ends the process; must not wait.
        repeat_s: For how many seconds after a signal another one is the same wish; 0 by
            default. With more the process is one of several, and hears ``HURRY``.
        clock: Tells these seconds; the system's by default.

    Attributes:
        at_second: Called at the second signal, after which a third one ends the
            process; must not wait. None, the default, ends it at the second one.
        is_stopping: Whether there was a signal.
        is_hurried: Whether there were two.
    """

    def __init__(
        self,
        *,
        watch_children: bool = False,
        at_once: Callable[[], object] = lambda: None,
        repeat_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self._signals = [*_STOPPING, *([HURRY] if repeat_s else [])]
        self._watch_children = watch_children
        self._at_once = at_once
        self._repeat_s = repeat_s
        self._clock = clock or SystemClock()
        self._repeats_until = 0.0
        self.at_second: Callable[[], object] | None = None
        self.is_stopping = False
        self.is_hurried = False

    def __enter__(self) -> Self:
        """Install the handlers."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._before_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._before = {
            number: signal.signal(number, self._stop) for number in self._signals
        }
        if self._watch_children:
            self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _notice)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore what was there before."""
        for number, handler in self._before.items():
            # None: installed by other means than Python's, and lost to it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._before_fd)
        os.close(self._reader)
        os.close(self._writer)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = self._clock.monotonic()
        is_first = not (self.is_stopping or number == HURRY)
        self.is_stopping = True
        if not is_first:
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
        """Wait for a signal, for one of the descriptors, or for the time to pass.

        Args:
            timeout_s: Seconds; None waits for as long as it takes.
            descriptors: File descriptors to wait for as well.

        Returns:
            The descriptors that became readable.
        """
        ready, _, _ = select.select([self._reader, *descriptors], [], [], timeout_s)
        if self._reader in ready:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._reader, 512):
                    pass
        return [number for number in ready if number != self._reader]

    def wait_during(self, work: Callable[[], object]) -> None:
        """Do something on a thread of its own, with an open ear for the second signal.

        A thread that waits for a lock may sleep through a signal that comes just before
        it falls asleep; the pipe keeps the byte.
        """
        with ThreadPoolExecutor(1, "stop") as pool:
            future = pool.submit(work)
            future.add_done_callback(lambda _: self._wake())
            while not future.done():
                self.wait()
            future.result()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: the waiter wakes anyway
            os.write(self._writer, b"\0")


def _notice(number: int, frame: FrameType | None) -> None:
    """Do nothing: the byte in the pipe is what counts."""
    del number, frame
