"""What a signal handler may do while its own thread is in the midst of the same.

Python runs a handler between two steps of the main thread. What the thread has locked
stays locked until the handler has returned, so a handler that waited for it would wait
for ever. Calls of the storage are refused within one another; the short locks around
them are reentrant. Those within :class:`threading.Event` are not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from flask_forge_jobs.errors import StorageBusyError


class _Calls(threading.local):
    """What a thread is doing."""

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
    """Return the error for a call that a handler makes amid another one."""
    return StorageBusyError(
        "a signal handler has interrupted a call of the storage, so it cannot make one "
        "itself; let it set a flag, and store the job once it has returned"
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
        """Set it, and let those who wait go on."""
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Let those who come next wait again."""
        self._is_set = False

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set; return False if that takes ``timeout_s`` seconds."""
        with self._changed:
            return self._is_set or self._changed.wait(timeout_s)
