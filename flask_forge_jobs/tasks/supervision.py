"""Supervision: waits for what a program does, and stops it when it has to.

At a time limit or a cancellation the group gets SIGTERM and, after a grace, SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from collections.abc import Callable
from types import TracebackType
from typing import Self

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.tasks.cancellation import CancelReason, CancelToken
from flask_forge_jobs.tasks.pipes import Outgoing
from flask_forge_jobs.tasks.process_groups import ProcessGroup

# A stopping worker gives its jobs back a second after it has asked them to stop, and
# by then nobody may work on them here; the shutdown's own grace is over already.
SHUTDOWN_GRACE_S = 0.5
# poll() takes no more than 2**31 milliseconds, and a time limit may be longer.
_LONGEST_PAUSE_S = 86_400.0
# What a program that is gone has left in its pipes: at most 64 KiB each.
_LAST_LOOKS = 4

Listener = Callable[[], bool]


class Supervision:
    """One wait for a program; use it as a context manager.

    Args:
        group: The program.
        token: Trips when the program should stop.
        clock: For limits.
        deadline: Instant at which the token is tripped by :attr:`CancelReason.TIMEOUT`;
            None means no limit.
        limit_at: Instant at which the program is stopped although the token has not
            tripped; None means no such limit.
        grace_s: Seconds between SIGTERM and SIGKILL; None leaves the program alone when
            it is time to stop, and only ends the wait.
        ask: Called before SIGTERM.
    """

    def __init__(
        self,
        group: ProcessGroup,
        token: CancelToken,
        *,
        clock: Clock,
        deadline: float | None = None,
        limit_at: float | None = None,
        grace_s: float | None,
        ask: Callable[[], object] = lambda: None,
    ) -> None:
        self._group = group
        self._token = token
        self._clock = clock
        self._deadline = deadline
        self._limit_at = limit_at
        self._grace_s = grace_s
        self._ask = ask
        self._kill_at: float | None = None
        self.is_late = False
        self.has_ended = False

    def __enter__(self) -> Self:
        """Start to listen to the token and to the end of the program."""
        self._resources = contextlib.ExitStack()
        reader, writer = os.pipe()
        self._resources.callback(os.close, reader)
        self._resources.callback(os.close, writer)
        self._selector = selectors.PollSelector()
        self._selector.register(reader, selectors.EVENT_READ, _nothing)
        self._wake_reader = reader
        self._selector.register(
            self._group.end_descriptor, selectors.EVENT_READ, self._note_end
        )
        self._resources.enter_context(
            self._token.heard_by(lambda: os.write(writer, b"\0"))
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening; the program is left as it is."""
        self._resources.close()

    # -- what to wait for ------------------------------------------------------------

    def read(self, descriptor: int, listener: Listener) -> None:
        """Call a listener whenever there is something to read."""
        self._selector.register(descriptor, selectors.EVENT_READ, listener)

    def write(
        self, descriptor: int, data: bytes, then: Callable[[], object] = lambda: None
    ) -> None:
        """Write bytes while waiting.

        Args:
            descriptor: Where to; nothing is read from it meanwhile.
            data: The bytes.
            then: Called when all is written.
        """
        outgoing = Outgoing(descriptor, data)

        def go_on() -> bool:
            if outgoing.write():
                self.forget(descriptor)
                then()
            return False

        self._selector.register(descriptor, selectors.EVENT_WRITE, go_on)

    def forget(self, descriptor: int) -> None:
        """Listen to a descriptor no longer."""
        self._selector.unregister(descriptor)

    # -- waiting ---------------------------------------------------------------------

    @property
    def is_stopping(self) -> bool:
        """Whether the program was asked to stop."""
        return self._kill_at is not None

    def run(self) -> bool:
        """Wait until a listener is content, or the program has ended or was killed.

        Returns:
            Whether a listener was content.
        """
        while True:
            now = self._clock.monotonic()
            if self._must_leave(now):
                return False
            if self._dispatch(self._pause_s(now)):
                return True
            if self.has_ended:
                # Its pipes may hold the last word.
                return any(self._dispatch(0.0) for _ in range(_LAST_LOOKS))

    def _dispatch(self, timeout_s: float | None) -> bool:
        answers = [key.data() for key, _ in self._selector.select(timeout_s)]
        return any(answers)

    def _note_end(self) -> bool:
        self.forget(self._group.end_descriptor)
        self.has_ended = True
        self._group.end()  # those whom it leaves behind
        return False

    def _must_leave(self, now: float) -> bool:
        """Stop the program when it is time; return whether there is no more to wait."""
        if self._kill_at is not None:
            if now >= self._kill_at:
                self._group.end()
            return now >= self._kill_at
        if self._deadline is not None and now >= self._deadline:
            self._token.cancel(CancelReason.TIMEOUT)
        self.is_late = self._limit_at is not None and now >= self._limit_at
        if not (self.is_late or self._token.is_cancelled):
            return False
        if self._grace_s is None:
            return True
        self._ask()
        self._group.terminate()
        self._selector.unregister(self._wake_reader)
        grace_s = self._grace_s
        if self._token.reason is CancelReason.SHUTDOWN:
            grace_s = min(grace_s, SHUTDOWN_GRACE_S)
        self._kill_at = now + grace_s
        return False

    def _pause_s(self, now: float) -> float | None:
        moments = (
            (self._deadline, self._limit_at)
            if self._kill_at is None
            else (self._kill_at,)
        )
        waits = [moment - now for moment in moments if moment is not None]
        return min(max(min(waits), 0.0), _LONGEST_PAUSE_S) if waits else None


def _nothing() -> bool:
    return False
