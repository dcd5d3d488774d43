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
from collections.abc import Callable, Iterator
from functools import partial
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
# Of writers that may wait for a while, so that each of a crowd stores several jobs in a
# row, with warm caches. One that has waited for long looks as often as the others.
_PATIENT_PAUSE_S = 0.003
_PATIENT_PAUSES_GROW = 2.0
_PATIENT_FOR_S = 0.02
_NUMBER_BYTES = 8
_GAP = b"\1"
_LARGEST = 2**63


class WritersGate:
    """The gate of one process; used by one thread at a time.

    Args:
        path: The database; None for one in memory, which needs no gate.

    Attributes:
        is_passed_by: Whether the writer waits for SQLite's lock outside of the gate.
        lock: Enters the gate; raises BlockingIOError if another writer is within it.
        unlock: Leaves the gate, or does nothing outside of it.
    """

    # No methods of our own once the file is open, because every write calls both.
    lock: Callable[[], object]
    unlock: Callable[[], object]

    def __init__(self, path: Path | None) -> None:
        self.is_passed_by = False
        self._path = path
        self._file: int | None = None
        self._passed_by_until = -math.inf
        self.lock, self.unlock = self._open, _nothing

    def _open(self) -> None:
        if self._path is None:
            return
        if self._file is None:
            # Closing the database file itself would drop SQLite's own locks.
            self._file = open_beside(self._path, ".ckpt-lock")
        self.lock = partial(fcntl.flock, self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.unlock = partial(fcntl.flock, self._file, fcntl.LOCK_UN)
        self.lock()

    @contextlib.contextmanager
    def until(self, ends_at: float) -> Iterator[None]:
        """Enter the gate for a block; see :meth:`enter`."""
        self.enter(ends_at)
        try:
            yield
        finally:
            self.unlock()

    def enter(self, ends_at: float) -> None:
        """Enter the gate for one write transaction, or pass it by.

        It is passed by if it stays closed for ``LIMIT_S``, or until ``ends_at`` on the
        monotonic clock. Then the writer enters as soon as it can; see :meth:`look`.
        """
        try:
            self.lock()
        except BlockingIOError:
            self.wait(ends_at)

    def wait(self, ends_at: float, *, is_patient: bool = False) -> None:
        """Enter the gate, which is closed, or pass it by; see :meth:`enter`.

        A patient writer lets others go first for some hundredths of a second.
        """
        self.is_passed_by = True
        now = time.monotonic()
        if now < self._passed_by_until:
            return
        limit, pause_s = now + LIMIT_S, _FIRST_PAUSE_S
        patient_until = now + _PATIENT_FOR_S if is_patient else now
        while now < min(limit, ends_at):
            time.sleep(pause_s)
            if now < patient_until:
                pause_s = min(pause_s * _PATIENT_PAUSES_GROW, _PATIENT_PAUSE_S)
            else:
                pause_s = min(pause_s * _PAUSES_GROW, PAUSE_S)
            if self.look():
                return
            now = time.monotonic()
        if now >= limit:
            self._passed_by_until = now + PASSED_BY_S

    def look(self) -> bool:
        """Enter the gate if it is open; return whether it is."""
        try:
            self.lock()
        except BlockingIOError:
            return False
        self.is_passed_by = False
        return True

    def add(self, number: int) -> int | None:
        """Add to the number that the lock file holds for all processes; return the sum.

        Only a writer within the gate may do so; if one outside does, the sum may lack
        what it has added. None of a file that this user may not write.
        """
        if self._file is None:
            return None
        try:
            held = os.pread(self._file, _NUMBER_BYTES, 0)
            total = min(int.from_bytes(held, "little") + number, _LARGEST)
            os.pwrite(self._file, total.to_bytes(_NUMBER_BYTES, "little"), 0)
        except OSError:
            return None
        return total

    def reset(self) -> None:
        """Set that number to 0."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._file, bytes(_NUMBER_BYTES), 0)

    def mark(self, *, has_gap: bool) -> None:
        """Set, for all processes, whether the disk may lack a part of the log."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._file, _GAP if has_gap else b"\0", _NUMBER_BYTES)

    def has_gap(self) -> bool:
        """Return what :meth:`mark` has set; False before the first :meth:`enter`."""
        if self._file is None:
            return False
        with contextlib.suppress(OSError):
            return os.pread(self._file, len(_GAP), _NUMBER_BYTES) == _GAP
        return False

    def close(self) -> None:
        """Close the lock file."""
        self.lock, self.unlock = self._open, _nothing
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _nothing() -> None:
    """Do nothing."""
