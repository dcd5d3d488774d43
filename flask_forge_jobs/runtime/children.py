"""Children: the worker processes of one parent, which only supervises them.

The parent has one thread and no database connection. It starts each child as a new
interpreter, restarts one that ends after a growing pause, and gives up when they keep
ending. The parent stops its children by closing a pipe that they read, so they also
stop when it is killed. It sends no signal at first: the service manager may have sent
one to every process, and a second signal interrupts running jobs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.config.variables import CHILD_VARIABLE, PARENT_PIPE_VARIABLE
from flask_forge_jobs.forks import private_pipe
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.runtime.foreground import EXIT_AT_ONCE, HURRY, StopSignals
from flask_forge_jobs.runtime.service import Backoff

logger = get_logger(__name__)

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
HEALTHY_AFTER_S = 10.0  # a child that lived this long resets its pause
MAX_RESTARTS = 20
# One cause, such as a lack of memory, may end many children at once.
MAX_RESTARTS_PER_CHILD = 3
RESTART_WINDOW_S = 60.0
KILL_SLACK_S = 25.0  # beyond the grace of tasks: last writes, clean-up of the program
HURRIED_S = 10.0  # after a second signal: the tasks' last second, and the same
EXIT_GAVE_UP = 1


def own_command() -> list[str]:
    """Return the command line that starts this program again."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        name = spec.name.removesuffix(".__main__")
        return [sys.executable, "-m", name, *sys.argv[1:]]
    return [sys.executable, *sys.argv]


@dataclass(slots=True)
class _ChildState:
    number: int
    process: subprocess.Popen[bytes] | None = None
    has_started: bool = False
    started_at: float = 0.0
    not_before: float = 0.0
    backoff: Backoff = field(
        default_factory=lambda: Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
    )


class Children:
    """Starts worker processes and restarts those that end."""

    def __init__(
        self, command: Sequence[str], *, count: int, grace_s: float, clock: Clock
    ) -> None:
        self._command = list(command)
        self._children = [_ChildState(number) for number in range(count)]
        self._grace_s = grace_s
        self._clock = clock
        self._environ = dict(os.environ)
        self._restarts: deque[float] = deque()
        self._ends_at = 0.0

    def run(self, leave: Callable[[int], object] = lambda _: None) -> int:
        """Run until a signal; return the exit status.

        ``leave`` is called with it at the end, while a further signal still ends the
        process at once.
        """
        self._reader, writer = private_pipe()
        try:
            with StopSignals(watch_children=True, at_once=self._kill_all) as signals:
                signals.at_second = self._hurry
                try:
                    status = self._watch(signals)
                finally:
                    writer.close()  # tells every child to stop
                self._wait_for_ends(signals)
                signals.at_second = None  # no child is left
                if signals.is_hurried:
                    status = EXIT_AT_ONCE
                leave(status)
        finally:
            os.close(self._reader)
        return status

    def _start(self, child: _ChildState, now: float) -> None:
        child.started_at = now
        try:
            child.process = self._start_process(child)
        except OSError as error:  # out of memory or processes
            logger.warning("cannot start worker process %s: %s", child.number, error)
            self._delay_next(child, now)

    def _start_process(self, child: _ChildState) -> subprocess.Popen[bytes]:
        environ = self._environ | {
            PARENT_PIPE_VARIABLE: str(self._reader),
            CHILD_VARIABLE: str(child.number),
        }
        # A session of its own, so that Ctrl-C reaches only the parent.
        return subprocess.Popen(  # noqa: S603  # our own command line
            self._command, env=environ, pass_fds=[self._reader], start_new_session=True
        )

    def _watch(self, signals: StopSignals) -> int:
        while not signals.is_stopping:
            if not self._start_due(signals):
                logger.error("worker processes keep ending; giving up")
                return EXIT_GAVE_UP
            signals.wait(self._pause_s())
        return 0

    def _start_due(self, signals: StopSignals) -> bool:
        """Start children until a signal; return False if too many have ended."""
        now = self._clock.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._note_end(child, child.process.returncode, now)
            is_due = child.process is None and now >= child.not_before
            if not is_due or signals.is_stopping:
                continue
            if child.has_started and not self._may_restart(now):
                return False
            child.has_started = True
            self._start(child, now)
        return True

    def _note_end(self, child: _ChildState, status: int, now: float) -> None:
        if now - child.started_at >= HEALTHY_AFTER_S:
            child.backoff.reset()
        child.process = None
        logger.warning(
            "worker process %s ended with status %s; restarting it in %s s",
            child.number,
            status,
            self._delay_next(child, now),
        )

    @staticmethod
    def _delay_next(child: _ChildState, now: float) -> float:
        pause_s = child.backoff.fail()
        child.not_before = now + pause_s
        return pause_s

    def _may_restart(self, now: float) -> bool:
        while self._restarts and self._restarts[0] < now - RESTART_WINDOW_S:
            self._restarts.popleft()
        self._restarts.append(now)
        limit = max(MAX_RESTARTS, MAX_RESTARTS_PER_CHILD * len(self._children))
        return len(self._restarts) <= limit

    def _pause_s(self) -> float | None:
        waiting = [
            child.not_before for child in self._children if child.process is None
        ]
        if not waiting:
            return None
        return max(min(waiting) - self._clock.monotonic(), 0.0)

    def _living(self) -> list[subprocess.Popen[bytes]]:
        return [child.process for child in self._children if child.process is not None]

    def _hurry(self) -> None:
        for process in self._living():
            process.send_signal(HURRY)
        self._ends_at = self._clock.monotonic() + HURRIED_S

    def _kill_all(self) -> None:
        for process in self._living():
            process.kill()

    def _wait_for_ends(self, signals: StopSignals) -> None:
        living = self._living()
        if not signals.is_hurried:
            self._ends_at = self._clock.monotonic() + self._grace_s + KILL_SLACK_S
        logger.info(
            "stopping %s worker processes; signal again to return their running jobs "
            "to the queue now",
            len(living),
        )
        while any(process.poll() is None for process in living):
            left_s = self._ends_at - self._clock.monotonic()
            if left_s <= 0:
                break
            signals.wait(left_s)
        for process in living:
            if process.poll() is None:
                logger.error("worker process %s did not stop; killed", process.pid)
                process.kill()
                process.wait()
