"""Guards against signal handlers that interrupt a call and make the same one again.

Python runs a handler between two steps of the main thread. The locks of that thread
stay locked until the handler has returned, so a handler that waits for one hangs. Calls
of the storage are refused within one another; the short locks around them are
reentrant. Those within :class:`threading.Event` are not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from flask_forge_jobs.errors import StorageBusyError


class _Calls(threading.local):
    """State of one thread."""

    is_busy = False
    """Whether a call of the storage is under way."""


calls = _Calls()
"""A variable, because every call of the storage reads and sets it."""


@contextlib.contextmanager
def one_call() -> Iterator[None]:
    """Run a block that uses the database as one call of the storage.

    Raises:
        StorageBusyError: This thread is within another one.
    """
    if calls.is_busy:
        raise within_another()
    try:
        calls.is_busy = True
        yield
    finally:
        calls.is_busy = False


def within_another() -> StorageBusyError:
    """Return the error for a call within another one of its thread."""
    return StorageBusyError(
        "this thread is within a call of the storage, so it cannot make another one; "
        "if a signal handler has interrupted that call, let it set a flag, and store "
        "the job once it has returned"
    )


class Flag:
    """As :class:`threading.Event`, for threads and for handlers of signals."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it and wake all waiters."""
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Reset it, so that later waiters block."""
        self._is_set = False

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set; return False if that takes ``timeout_s`` seconds."""
        with self._changed:
            return self._is_set or self._changed.wait(timeout_s)
