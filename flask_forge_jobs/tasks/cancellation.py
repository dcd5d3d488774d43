"""CancelToken: how a running task learns that it should stop.

Cancellation is cooperative. A task that may take long looks at its token about once a
second, or sleeps on it instead of sleeping.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum


class CancelReason(StrEnum):
    """Why a task should stop."""

    USER = "user"
    LOST = "lost"
    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"


class CancelledError(Exception):
    """The task was asked to stop."""

    def __init__(self, reason: CancelReason | None) -> None:
        super().__init__(f"cancelled: {reason or 'unknown'}")
        self.reason = reason


class CancelToken:
    """Trips once and stays tripped; the first reason wins."""

    __slots__ = ("_event", "_listener", "_lock", "_reason")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event: threading.Event | None = None
        self._reason: CancelReason | None = None
        self._listener: Callable[[], object] | None = None

    @property
    def reason(self) -> CancelReason | None:
        """Why the task should stop; None while it should not."""
        return self._reason

    @property
    def is_cancelled(self) -> bool:
        """Whether the task should stop."""
        return self._reason is not None

    def cancel(self, reason: CancelReason) -> bool:
        """Trip the token; return whether it was the first time."""
        with self._lock:
            if self._reason is not None:
                return False
            self._reason = reason
            if self._event is not None:
                self._event.set()
            if self._listener is not None:
                self._listener()
            return True

    @contextlib.contextmanager
    def heard_by(self, listener: Callable[[], object]) -> Iterator[None]:
        """Within the block, call a function when the token trips, at once if it has.

        For whoever waits for something else as well. One function at a time; it runs
        under the token's lock, so it must neither wait nor use the token. After the
        block it is not called any more.
        """
        with self._lock:
            if self._reason is not None:
                listener()
            self._listener = listener
        try:
            yield
        finally:
            with self._lock:
                self._listener = None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Sleep until the token trips.

        Args:
            timeout_s: Seconds to sleep at most; None sleeps until it trips.

        Returns:
            Whether the token has tripped.
        """
        with self._lock:
            if self._reason is not None:
                return True
            # Made on demand: most tasks never wait, and making one takes its time.
            if self._event is None:
                self._event = threading.Event()
            event = self._event
        return event.wait(timeout_s)

    def raise_if_cancelled(self) -> None:
        """Raise when the token has tripped.

        Raises:
            CancelledError: The task should stop; let it pass.
        """
        if self._reason is not None:
            raise CancelledError(self._reason)
