"""The gate of writers: our processes write to a SQLite file one after the other.

SQLite has no line of writers. Each looks again and again whether its lock is free, and
a look costs more of the processor than an enqueue. So a writer first locks a file
beside the database. A look at that lock takes a few microseconds, so all may look
often, and none waits for much longer than others.

The gate is a courtesy: only SQLite's lock keeps the file whole. The application's own
writers know no gate, so ours still wait for that lock within it. A process that is
stopped in the gate delays the others for a moment, then they pass it by. The kernel
opens the gate of a process that dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

from flask_forge_jobs.storage.sqlite.files import open_beside

# Many times as long as a writer needs, even behind all others.
LIMIT_S = 0.25
# How long the others pass by a gate that was closed for so long.
PASSED_BY_S = 1.0
# Between two looks: at first the length of a commit; in a crowd a look is worth less,
# and takes the processor from the writer that all wait for.
_FIRST_PAUSE_S = 0.0003
PAUSE_S = 0.001
_PAUSES_GROW = 1.25


class WritersGate:
    """The gate of one process; used by one thread at a time.

    Args:
        path: The database; None for one in memory, which needs no gate.

    Attributes:
        is_passed_by: Whether the writer waits for SQLite's lock outside of the gate.
    """

    def __init__(self, path: Path | None) -> None:
        self.is_passed_by = False
        self._path = path
        self._file: int | None = None
        self._passed_by_until = -math.inf

    @contextlib.contextmanager
    def until(self, ends_at: float) -> Iterator[None]:
        """Enter the gate for a block; see :meth:`enter`."""
        self.enter(ends_at)
        try:
            yield
        finally:
            self.leave()

    def enter(self, ends_at: float) -> None:
        """Enter the gate for one write transaction, or pass it by.

        It is passed by if it stays closed for ``LIMIT_S``, or until ``ends_at`` on the
        monotonic clock. Then the writer enters as soon as it can; see :meth:`look`.
        """
        self.is_passed_by = False
        file = self._file
        if file is None:
            if self._path is None:
                return
            # Closing the database file itself would drop SQLite's own locks.
            self._file = file = open_beside(self._path, ".ckpt-lock")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(ends_at)

    def _wait(self, ends_at: float) -> None:
        self.is_passed_by = True
        now = time.monotonic()
        if now < self._passed_by_until:
            return
        limit, pause_s = now + LIMIT_S, _FIRST_PAUSE_S
        while now < min(limit, ends_at):
            time.sleep(pause_s)
            pause_s = min(pause_s * _PAUSES_GROW, PAUSE_S)
            if self.look():
                return
            now = time.monotonic()
        if now >= limit:
            self._passed_by_until = now + PASSED_BY_S

    def look(self) -> bool:
        """Enter the gate if it is open; return whether it is."""
        assert self._file is not None  # noqa: S101  # for the type checker
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.is_passed_by = False
        return True

    def leave(self) -> None:
        """Leave the gate, or do nothing outside of it."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
