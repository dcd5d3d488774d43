"""CancelToken: asks a running task to stop, and CancelledError, which stops it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_forge_jobs.model.run_end import CancelReason


class CancelledError(Exception):
    """The task has to stop; do not catch it."""

    def __init__(self, reason: CancelReason | None) -> None:
        super().__init__(f"cancelled: {reason or 'unknown'}")
        self.reason = reason


class CancelToken:
    """Trips once and stays tripped, with the reason of the first call."""

    __slots__ = ("_event", "_listener", "_lock", "_reason")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event: threading.Event | None = None
        self._reason: CancelReason | None = None
        self._listener: Callable[[], object] | None = None

    @property
    def reason(self) -> CancelReason | None:
        """Why the task should stop, or None."""
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
        """Within the block, call a function when the token trips, or has tripped.

        There can be one at a time. It runs under the token's lock, so it must neither
        block nor use the token.
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
        """Sleep until the token trips; return whether it has.

        Args:
            timeout_s: Most seconds to sleep; None for no limit.
        """
        with self._lock:
            if self._reason is not None:
                return True
            # Created on demand, since most tasks never wait.
            if self._event is None:
                self._event = threading.Event()
            event = self._event
        return event.wait(timeout_s)

    def raise_if_cancelled(self) -> None:
        """Raise :class:`CancelledError` if the token has tripped."""
        if self._reason is not None:
            raise CancelledError(self._reason)
