"""Makes the checkpoints on SQLite versions with the WAL-reset bug.

SQLite 3.7.0 to 3.51.2 can corrupt a file when one connection checkpoints while another
commits and resets the log (https://sqlite.org/wal.html#walresetbug; fixed in 3.51.3,
3.50.7 and 3.44.6). On these versions we turn automatic checkpoints off. A writer makes
one after its commit, before it leaves the gate, while a second connection has the lock
of writers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from functools import partial
from pathlib import Path

from flask_forge_jobs.errors import StorageCorruptError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.sqlite.connection import (
    SqliteConnection,
    rewrite_log,
    sync_log,
)
from flask_forge_jobs.storage.sqlite.faults import BUSY
from flask_forge_jobs.storage.sqlite.files import log_bytes
from flask_forge_jobs.storage.sqlite.gate import WritersGate

logger = get_logger(__name__)

# SQLite's own interval, in pages. Python cannot see how many pages a commit writes;
# these estimates are slightly high for our statements.
PAGES_BETWEEN_CHECKPOINTS = 1000
# After an enqueue of one job and after a claim: meanwhile that job waits for its start.
# The end of its run, a moment later, is a better place.
PAGES_BEFORE_A_START = 2 * PAGES_BETWEEN_CHECKPOINTS
PAGES_OF_A_COMMIT = 5
CHANGES_OF_A_PAGE = 4
# A log of this size is due too: the estimates miss the application's own commits.
CHECKPOINT_BYTES = 32 * 1024 * 1024
# A commit that overwrites the log takes a third of the time of one that extends it, so
# the commit that restarts the log only cuts it to this size.
LOG_BYTES_KEPT = 16 * 1024 * 1024
COMMITS_BETWEEN_LOOKS = 16
# How many pages of its own a process counts before it adds them to the shared number.
PAGES_BETWEEN_SUMS = 50
PAUSE_AFTER_BUSY_S = 0.5
# Our writers are blocked while a checkpoint waits for a writer of the application.
_WRITER_WAIT_S = 0.02
# Most read transactions end within this time.
_READERS_WAIT_S = 0.02
_READERS_LOOK_AGAIN_S = 0.001
# SQLITE_IOERR_FSYNC
_NOT_WRITTEN = 1034


def has_wal_reset_bug(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Return whether a SQLite version may not checkpoint by itself.

    A distribution may fix the bug without changing the number; our checkpoints then
    cost a few microseconds more.
    """
    if version >= (3, 51, 3) or version < (3, 7, 0):
        return False
    return not ((3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45))


def check_not_emptied(path: Path) -> None:
    """Raise StorageCorruptError if a database file is empty but its log is not.

    SQLite would treat it as a new database and delete the log, the last trace of the
    data.
    """
    # The log first: another process may be making the database, file before log.
    if log_bytes(path) > 0 and path.exists() and path.stat().st_size == 0:
        raise StorageCorruptError(
            f"{path} is empty but {path.name}-wal is not; restore the file, or move "
            "both away to start over"
        )


class Checkpoints:
    """The checkpoints that one process makes; used by one thread at a time.

    Several processes that each counted their own commits would let the log grow, and a
    commit that extends it takes three times as long.

    Args:
        path: The database; None for one in memory.
        gate: Holds the number of pages in the log for all processes; None counts those
            of this one.
    """

    def __init__(self, path: Path | None, gate: WritersGate | None = None) -> None:
        self._file = path
        self._path = path if path is not None and has_wal_reset_bug() else None
        self._gate = gate
        self._commits = 0
        self._pages = self._pages_to_add = 0
        self._not_before = 0.0
        self.must_mend = False
        """Whether the disk may lack a part of the log; see :meth:`mend`."""

    def note_gap(self) -> None:
        """Note that the disk may lack a part of the log, for new connections too.

        The system reports a fault once to each descriptor that was open then.
        """
        self.must_mend = True
        if self._gate is not None:
            self._gate.mark(has_gap=True)

    def note(self, error: BaseException) -> None:
        """Note the gap if an error of SQLite tells of one."""
        if getattr(error, "sqlite_errorcode", None) == _NOT_WRITTEN:
            self.note_gap()

    def look_for_gap(self) -> None:
        """Learn of a gap that was noted before a connection was opened."""
        if self._gate is not None and self._gate.has_gap():
            self.must_mend = True

    def sync_log(self) -> None:
        """Have the disk write the log, for jobs that others have stored.

        Raises:
            OSError: It refuses, or has refused a part of the log to another process,
                which alone hears of it.
        """
        sync_log(str(self._file), self.note_gap)
        self.look_for_gap()
        if self.must_mend:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def mend(self, connection: SqliteConnection, ends_at: float) -> None:
        """Write the log anew after the disk has refused a part of it.

        A power failure would undo all commits behind the gap. A checkpoint
        would do worse: the database would have later pages than the log. The caller is
        within the gate, and gives up at ``ends_at`` on the monotonic clock.

        Raises:
            OSError: The disk refuses it again.
            sqlite3.OperationalError: Another writer keeps its lock.
        """
        begin = partial(connection.execute, "BEGIN IMMEDIATE")
        connection.when_free(begin, ends_at, self._gate)
        try:
            self.mend_locked()
        finally:
            connection.execute("ROLLBACK")

    def mend_locked(self) -> None:
        """Do so while a transaction of the caller has the lock of writers."""
        if self._file is not None:
            rewrite_log(str(self._file))
        self.must_mend = False
        if self._gate is not None:
            self._gate.mark(has_gap=False)

    def make_if_due(
        self, connection: SqliteConnection, max_pages: int = PAGES_BETWEEN_CHECKPOINTS
    ) -> bool:
        """Write the log back after so many pages, or when it has grown too long.

        The caller has just committed, and is still within the gate.

        Returns:
            Whether the whole log was written back. The next commit then overwrites it
            unless a reader still uses it.
        """
        if self._path is None or self.must_mend:
            return False
        try:
            self._commits += 1
            total = connection.total_changes
            changes = max(total - connection.counted_changes, 0)
            pages = PAGES_OF_A_COMMIT + changes // CHANGES_OF_A_PAGE
            self._pages += pages
            self._pages_to_add += pages
            connection.counted_changes = total
            # Another process may have made the checkpoint that seems due.
            if self._pages_to_add >= PAGES_BETWEEN_SUMS or self._pages >= max_pages:
                self._add_up()
            is_look = not self._commits % COMMITS_BETWEEN_LOOKS
            is_large = is_look and log_bytes(self._path) >= CHECKPOINT_BYTES
            is_due = is_large or self._pages >= max_pages
            if not is_due or time.monotonic() < self._not_before:
                return False
            return self._make(connection, self._path)
        except (sqlite3.Error, OSError) as error:
            # The caller's commit succeeded, so it must not see this error.
            self.note(error)
            logger.warning("cannot write back the log of %s: %s", self._path, error)
            self._not_before = time.monotonic() + PAUSE_AFTER_BUSY_S
            return False

    def _add_up(self) -> None:
        """Add the pages of this process to those of all, and learn of the others'."""
        if self._gate is not None:
            of_all = self._gate.add(self._pages_to_add)
            self._pages = self._pages if of_all is None else of_all
        self._pages_to_add = 0

    def _make(self, connection: sqlite3.Connection, path: Path) -> bool:
        self._not_before = time.monotonic() + PAUSE_AFTER_BUSY_S
        is_written = _write_back(connection, path)
        self._pages = self._pages_to_add = 0
        if self._gate is not None:
            self._gate.reset()
        if is_written:
            self._not_before = 0.0
        return is_written


def _write_back(connection: sqlite3.Connection, path: Path) -> bool:
    """Run a checkpoint; return whether it wrote the whole log back.

    The application's own connections do not pass the gate, so a second connection holds
    the write lock meanwhile. SQLite's blocking modes take that lock too, but continue
    without it if a writer holds it, so a commit could collide with the checkpoint. The
    mode that we use does not wait for readers, so we wait for them.
    """
    # Does not make a file where one has been deleted.
    address = f"{path.as_uri()}?mode=rw"
    with contextlib.closing(
        sqlite3.connect(address, timeout=_WRITER_WAIT_S, isolation_level=None, uri=True)
    ) as holder:
        try:
            holder.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == BUSY:
                return False
            raise
        is_written = _write_all(connection, time.monotonic() + _READERS_WAIT_S)
        # The next commit overwrites the log unless a reader still uses it. Readers that
        # begin from now on use only the database; the earlier ones end meanwhile. A log
        # that was cut has exactly the kept size.
        if is_written and log_bytes(path) > LOG_BYTES_KEPT:
            time.sleep(_READERS_WAIT_S)
    return is_written


def _write_all(connection: sqlite3.Connection, ends_at: float) -> bool:
    """Write the log back up to the oldest reader, until that is all of it."""
    while True:
        busy, pages, written = connection.execute(
            "PRAGMA wal_checkpoint(PASSIVE)"
        ).fetchone()
        if not busy and pages == written:
            return True
        if time.monotonic() >= ends_at:
            return False
        time.sleep(_READERS_LOOK_AGAIN_S)
