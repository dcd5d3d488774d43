"""Turns SIGTERM and SIGINT into a request to stop; the second signal stops at once.

A service manager may signal every process of a service, so a child may get a signal
twice: from the manager and from its parent. It ignores a repeat within a second.

Only our own programs install the handlers, never the extension inside a server. A
handler does almost nothing: the interpreter writes to a pipe that the main thread waits
on, and database calls run on other threads.
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
# With it, a parent passes on the second signal; never taken for a repeat.
HURRY = signal.SIGUSR1
EXIT_AT_ONCE = 130
REPEAT_S = 1.0  # too soon for a second signal by a person


class StopSignals:
    """Waits for signals in the main thread; a context manager that restores handlers.

    With ``watch_children`` it also wakes when a child ends. Signals within ``repeat_s``
    seconds count as one; more than 0 also handles ``HURRY``. The second signal calls
    ``at_second``; the third, or the second if that is None, calls ``at_once`` and ends
    the process. Neither may block.
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
        for number, handler in self._before.items():
            # None: a handler that was not installed from Python cannot be restored.
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
        """Wait for a signal, a readable descriptor or the timeout, None for no timeout.

        Return the descriptors that are readable.
        """
        ready, _, _ = select.select([self._reader, *descriptors], [], [], timeout_s)
        if self._reader in ready:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._reader, 512):
                    pass
        return [number for number in ready if number != self._reader]

    def wait_during(self, work: Callable[[], object]) -> None:
        """Do work on another thread while this one handles signals.

        A wait for a lock could miss a signal that comes just before it; the pipe
        cannot.
        """
        with ThreadPoolExecutor(1, "stop") as pool:
            future = pool.submit(work)
            future.add_done_callback(lambda _: self._wake())
            while not future.done():
                self.wait()
            future.result()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full, which wakes, too
            os.write(self._writer, b"\0")


def _notice(number: int, frame: FrameType | None) -> None:
    """Do nothing; the interpreter has written to the pipe."""
    del number, frame
