"""One connection to SQLite, and how it waits for a lock."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import GeneratorType
from typing import Any, TypeVar, cast

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.sqlite.faults import BUSY
from flask_forge_jobs.storage.sqlite.gate import PAUSE_S, WritersGate
from flask_forge_jobs.storage.sqlite.turn import release_all

T = TypeVar("T")

# A commit takes a few tenths of a millisecond, so after a longer wait poll less often.
_FIRST_PAUSE_S = 0.0003
_LONGEST_PAUSE_S = 0.003
_PAUSES_GROW = 1.1
# After this long a writer checks once whether it is waiting for its own thread.
LONG_WAIT_S = 0.25
# As SQLite does; macOS has only fsync().
sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
_BLOCK_BYTES = 1024 * 1024
# Virtual-machine steps between two looks at the clock during a read; about 1 ms.
_STEPS_BETWEEN_LOOKS = 20_000
_numbers = itertools.count()


@dataclass(slots=True, eq=False)
class _Question:
    """What each look asks, and what a signal handler has raised meanwhile."""

    is_over: Callable[[], bool] = bool
    raised: BaseException | None = None


def _looking(question: _Question) -> Generator[bool, None, None]:
    is_over = False
    while True:
        try:
            while True:
                yield is_over
                is_over = question.is_over()
        except GeneratorExit:
            return
        except BaseException as error:  # noqa: BLE001  # it is raised again
            question.raised, is_over = error, True


class _Looks:
    """Looks during statements whether their time is over.

    SQLite drops what a look raises. But if a statement takes long, signal handlers run
    as a look begins. A function begins outside of every ``try`` of its own, so this is
    a generator, which goes on within one.
    """

    def __init__(self) -> None:
        self._question = _Question()
        self._start()

    def _start(self) -> None:
        looking = _looking(self._question)
        self._looking = cast("GeneratorType[bool, None, None]", looking)
        next(self._looking)

    def begin(self, is_over: Callable[[], bool]) -> Callable[[], bool]:
        """Return what looks from now on."""
        self._question.is_over, self._question.raised = is_over, None
        if self._looking.gi_frame is None:  # two handlers have raised in a row
            self._start()
        return self._looking.__next__

    def end(self) -> BaseException | None:
        """Return what a signal handler has raised since the beginning."""
        question = self._question
        raised, question.is_over, question.raised = question.raised, bool, None
        return raised


class SqliteConnection(sqlite3.Connection):
    """A connection that remembers its busy time-out, so changing it is often free.

    Attributes:
        in_use: Held to read and to close: closing a connection under a running
            statement crashes the process.
        number: Unique among the connections of this process.
        is_reading: Whether the holder of ``in_use`` is reading.
        is_closed: Whether some thread has closed it.
        on_long_wait: Called once by a writer that has waited ``LONG_WAIT_S``.
        busy_timeout_ms: How long SQLite itself waits for a lock; -1 if unknown.
        counted_changes: How many of its changes :class:`.Checkpoints` has counted.
        log: A descriptor of the log, if a commit does not wait for the disk and its
            caller does so.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.in_use = threading.RLock()
        self.is_reading = False
        self.number = next(_numbers)
        self.is_closed = False
        self.on_long_wait: Callable[[], object] = lambda: None
        self.busy_timeout_ms = -1
        self.counted_changes = 0
        self._looks = _Looks()
        self.log: int | None = None
        self._close_log: Callable[[], object] = lambda: None

    def commit_early(self, path: str) -> None:
        """Let commits end before the disk has them, and open the log of this file.

        The log stays the same one for as long as this connection is open.
        """
        # With 0, a write that is cut off may damage bytes beside it.
        if ("POWERSAFE_OVERWRITE=0",) in self.execute("PRAGMA compile_options"):
            return
        self.execute("SELECT 1 FROM forge_schema").fetchall()  # opens it
        with contextlib.suppress(OSError):
            self.log = os.open(f"{path}-wal", os.O_RDONLY)
            close = weakref.finalize(self, os.close, self.log)
            close.atexit = False  # a thread may still be using it
            self._close_log = close
            self.execute("PRAGMA synchronous = NORMAL")

    def close_at_rest(self, ends_at: float) -> bool:
        """Close it unless it stays in use until ``ends_at`` on the monotonic clock."""
        if not self.in_use.acquire(timeout=max(ends_at - time.monotonic(), 0.0)):
            return False
        try:
            # The calling thread itself may be using it, or its thread has ended.
            if not (self.is_closed or self.is_reading or self.in_transaction):
                self.close()
        finally:
            self.in_use.release()
        return self.is_closed

    def close(self) -> None:
        """Close it; SQLite deletes the log with the last connection to a file."""
        self.is_closed = True
        super().close()
        self._close_log()

    def let_go(self) -> None:
        """Roll back, and let other threads close it."""
        with contextlib.suppress(sqlite3.Error):
            self.rollback()  # does nothing without a transaction
            self.set_progress_handler(None, 0)
        self.is_reading = False
        release_all(self.in_use)

    def look_whether(self, is_over: Callable[[], bool]) -> None:
        """Interrupt statements once ``is_over``, or once a signal handler raises."""
        self.set_progress_handler(self._looks.begin(is_over), _STEPS_BETWEEN_LOOKS)

    def look_no_more(self) -> None:
        """End this, and raise what a signal handler has raised during a look."""
        raised = self._looks.end()
        self.set_progress_handler(None, 0)
        if raised is not None:
            raise raised

    def let_sqlite_wait(self, seconds: float) -> None:
        """Let SQLite itself wait for a lock."""
        limit_ms = int(seconds * 1000)
        if self.busy_timeout_ms != limit_ms:
            self.execute(f"PRAGMA busy_timeout = {limit_ms}")
            self.busy_timeout_ms = limit_ms

    def when_free(
        self, work: Callable[[], T], ends_at: float, gate: WritersGate | None = None
    ) -> T:
        """Run a statement that takes the write lock, polling until it is free.

        SQLite's own busy handler backs off to 100 ms between polls. That is too slow
        for our commits and unfair: a newcomer overtakes a long waiter. A writer that
        has passed by the gate looks at both as often as those who wait for the gate.

        Raises:
            sqlite3.OperationalError: The lock was not free by ``ends_at`` on the
                monotonic clock.
            InvalidInputError: Another connection of this thread holds the lock.
            StorageError: A transaction is open on this one.
        """
        if self.in_transaction:
            raise StorageError("a write cannot start inside a transaction")
        if self.busy_timeout_ms:
            self.let_sqlite_wait(0)
        pause_s = _FIRST_PAUSE_S
        looks_at = math.inf
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                is_locked = error.sqlite_errorcode == BUSY
                now = time.monotonic()
                if not is_locked or now >= ends_at:
                    raise
            if looks_at == math.inf:
                looks_at = now + LONG_WAIT_S
            elif now >= looks_at:
                looks_at = ends_at
                self.on_long_wait()
            if gate is not None and gate.is_passed_by:
                if not gate.look():
                    time.sleep(PAUSE_S)
                continue
            time.sleep(pause_s)
            pause_s = min(pause_s * _PAUSES_GROW, _LONGEST_PAUSE_S)

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return facts about the connection; the driver comes last."""

        def pragma(name: str) -> str:
            return str(self.execute(f"PRAGMA {name}").fetchone()[0])

        return (
            ("sqlite_version", sqlite3.sqlite_version),
            ("journal_mode", pragma("journal_mode")),
            ("busy_timeout_secs", f"{int(pragma('busy_timeout')) / 1000:g}"),
            ("write_pool_max", "1"),
            ("read_pool_max", "1 per thread"),
            ("driver", f"sqlite3 {sqlite3.sqlite_version}"),
        )


def sync_log(path: str, on_refusal: Callable[[], object]) -> None:
    """Have the disk write the log of this file, for jobs that others have stored."""
    with contextlib.suppress(FileNotFoundError):  # the last to close it has done so
        log = os.open(f"{path}-wal", os.O_RDONLY)
        try:
            sync(log)
        except OSError:
            on_refusal()
            raise
        finally:
            os.close(log)


def rewrite_log(path: str) -> None:
    """Write the log of this file over itself, and have the disk write all of it.

    After a fault the system takes its pages as written, and keeps them for a while. The
    caller has the lock of writers.
    """
    log = os.open(f"{path}-wal", os.O_RDWR)
    try:
        at = 0
        while block := os.pread(log, _BLOCK_BYTES, at):
            at += os.pwrite(log, block, at)
        sync(log)
    finally:
        os.close(log)
