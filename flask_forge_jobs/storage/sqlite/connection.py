"""One connection to SQLite, and how it waits for a lock."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from flask_forge_jobs.storage.sqlite.faults import BUSY

T = TypeVar("T")

# A commit takes a few tenths of a millisecond. Whoever has waited for much longer than
# that waits for something that will last.
_FIRST_PAUSE_S = 0.0003
_LONGEST_PAUSE_S = 0.003
_PAUSES_GROW = 1.1
_numbers = itertools.count()


class SqliteConnection(sqlite3.Connection):
    """A connection that knows how long it waits for a lock.

    Changing that takes a statement, so it is changed only when it differs: a thread
    that only writes, or only reads, never changes it.

    Attributes:
        in_use: Held while a thread reads by the connection, and by whoever closes it:
            one that is closed under a statement brings the whole process down.
        number: No other connection of this process has it.
        is_reading: Whether a read is under way, of whoever holds ``in_use``.
        is_closed: Whether somebody has closed it, which any thread may do.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.in_use = threading.RLock()
        self.is_reading = False
        self.number = next(_numbers)
        self.is_closed = False
        self._busy_timeout_ms = -1

    def close_at_rest(self, ends_at: float) -> bool:
        """Close it, unless it is in use until then, or by the calling thread itself.

        Args:
            ends_at: Reading of the monotonic clock at which it waits no longer.
        """
        if not self.in_use.acquire(timeout=max(ends_at - time.monotonic(), 0.0)):
            return False
        try:
            # Its thread may have ended meanwhile.
            if not (self.is_closed or self.is_reading or self.in_transaction):
                self.close()
        finally:
            self.in_use.release()
        return self.is_closed

    def close(self) -> None:
        """Close it; the last one of a file writes the log back and deletes it."""
        self.is_closed = True
        super().close()

    def wait_at_most(self, seconds: float) -> None:
        """Let SQLite itself wait that long for a lock."""
        self._set_busy_timeout(int(seconds * 1000))

    def _set_busy_timeout(self, limit_ms: int) -> None:
        if self._busy_timeout_ms != limit_ms:
            self.execute(f"PRAGMA busy_timeout = {limit_ms}")
            self._busy_timeout_ms = limit_ms

    def when_free(self, work: Callable[[], T], ends_at: float) -> T:
        """Do what takes the lock of writers; look for it again and again.

        Left to itself SQLite looks after 1 ms, 2 ms more and so on up to every 100 ms:
        too rarely for commits that take less, and whoever has waited for long loses to
        whoever has just come.

        Args:
            work: Begins a transaction, or is one statement outside any.
            ends_at: Reading of the monotonic clock after which no look follows.

        Raises:
            sqlite3.OperationalError: The lock was not free in time.
        """
        if self._busy_timeout_ms:
            self._set_busy_timeout(0)
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                is_locked = error.sqlite_errorcode == BUSY
                if not is_locked or time.monotonic() >= ends_at:
                    raise
            time.sleep(pause_s)
            pause_s = min(pause_s * _PAUSES_GROW, _LONGEST_PAUSE_S)
