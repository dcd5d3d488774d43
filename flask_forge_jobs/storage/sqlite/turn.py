"""Takes turns: the threads of a process write to a SQLite file one after the other.

Threads that add jobs while another one writes line up, and whichever of them gets the
turn may do the work of the others; see :mod:`.group`.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from flask_forge_jobs.errors import StorageBusyError
from flask_forge_jobs.storage.database import Parameter, Row
from flask_forge_jobs.storage.deadlines import deadline, left_s

_HOPELESS_FOR_S = 1.0
# Longer than several commits, of a millisecond or two each.
_SHORT_LIMIT_S = 0.015
# How often a thread in the line looks for itself. Others call it as soon as there is
# something to see, unless a signal handler keeps them from it.
_LOOK_AGAIN_S = 0.02
# How long a thread that gives way pauses; the one it has called needs as long to begin.
_GIVE_WAY_S = 0.00005


def release_all(lock: threading.RLock) -> None:
    """Release a lock as often as the calling thread has taken it."""
    with contextlib.suppress(RuntimeError):  # it has it no more
        while True:
            lock.release()


class CountingLock:
    """A reentrant lock that knows how often its thread holds it.

    Attributes:
        depth: How often; only the thread that holds it may ask.
        is_requested: Whether a thread waits for it in :meth:`acquire_at_rest`.
    """

    __slots__ = ("_lock", "depth", "is_requested")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.depth = 0
        self.is_requested = False

    def acquire(self, limit_s: float = -1) -> bool:
        """Take the lock; return False if it was not free in time."""
        if not self._lock.acquire(timeout=limit_s):
            return False
        self.depth += 1
        return True

    def release(self) -> None:
        """Release the lock."""
        self.depth -= 1
        self._lock.release()

    def let_go(self) -> None:
        """Release the lock as often as the calling thread has it, noted or not."""
        if self._lock.acquire(blocking=False):
            self.depth = 0
            release_all(self._lock)

    def acquire_at_rest(self, ends_at: float) -> bool:
        """Take the lock by ``ends_at``, unless the calling thread holds it already."""
        self.is_requested = True
        try:
            if not self.acquire(max(ends_at - time.monotonic(), 0.0)):
                return False
        finally:
            self.is_requested = False
        if self.depth == 1:
            return True
        self.release()
        return False


class Group:
    """A transaction for several threads.

    Attributes:
        is_at_disk: Whether it is committed, and the disk has yet to write it.
        is_stored: Whether it is committed. None until then, and if nobody knows because
            a signal handler has ended the work of the thread that had it.
    """

    __slots__ = ("is_at_disk", "is_stored")

    def __init__(self) -> None:
        self.is_at_disk = False
        self.is_stored: bool | None = None


class Waiting:
    """A statement of a thread in the line.

    Attributes:
        sql: The statement.
        parameters: Its values.
        called: Released when there is something to see.
        group: The transaction that another thread has run it in.
        rows: What it has returned there; None if it has failed.
    """

    __slots__ = ("called", "group", "parameters", "rows", "sql")

    def __init__(self, sql: str, parameters: dict[str, Parameter]) -> None:
        self.sql = sql
        self.parameters = parameters
        self.called = threading.Lock()
        self.group: Group | None = None
        self.rows: list[Row] | None = None

    @property
    def is_stored(self) -> bool:
        """Whether another thread has run it and committed."""
        return (
            self.group is not None
            and self.group.is_stored is True
            and self.rows is not None
        )

    @property
    def is_at_disk(self) -> bool:
        """Whether another thread has run it and waits for the disk."""
        return self.group is not None and self.group.is_at_disk

    @property
    def is_unclear(self) -> bool:
        """Whether another thread may have committed it."""
        return (
            self.group is not None
            and self.group.is_stored is None
            and self.rows is not None
        )

    def call(self) -> None:
        """Tell its thread that there is something to see."""
        with contextlib.suppress(RuntimeError):  # it knows already
            self.called.release()


class WriterLock(CountingLock):
    """Lets one thread write at a time.

    ``limit_s`` covers the wait for other threads and for other processes together. Once
    a writer has timed out, the next ones wait only briefly until one succeeds.
    Otherwise the waits would add up, to minutes for the last writer.

    Attributes:
        line: What waits for the turn; the thread that has it may take something out.
    """

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self.line: deque[Waiting] = deque()
        self._limit_s = limit_s
        self._gave_up_at = -math.inf
        self._called_by = 0

    def __enter__(self) -> float:
        """Begin a turn; return the monotonic time at which this writer gives up.

        Raises:
            StorageBusyError: Another thread has kept the turn for too long.
        """
        came_at = time.monotonic()
        if self._called_by and self._called_by == threading.get_ident():
            self._give_way()
        # left_s(), acquire() and release() inlined: every write runs this.
        limit_s = self._limit_s
        if deadline.ends_at is not None:
            limit_s = left_s(limit_s)
        if not self._lock.acquire(timeout=limit_s):
            raise _too_long()
        self.depth += 1
        ends_at, now = came_at + limit_s, time.monotonic()
        if now - self._gave_up_at < _HOPELESS_FOR_S:
            ends_at = min(ends_at, now + _SHORT_LIMIT_S)
        return ends_at

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        is_busy = isinstance(error, StorageBusyError)
        self._gave_up_at = time.monotonic() if is_busy else -math.inf
        self.depth -= 1
        self._lock.release()
        if self.line:
            self._called_by = threading.get_ident()
            self.call_next()

    def _give_way(self) -> None:
        """Wait until the first in the line, which this thread has called, has begun.

        Else a thread that makes one transaction after the other would always be back
        before another thread gets the interpreter.
        """
        self._called_by = 0
        ends_at = time.monotonic() + _LOOK_AGAIN_S
        with contextlib.suppress(IndexError):  # the line is empty
            first = self.line[0]
            while self.line[0] is first and time.monotonic() < ends_at:
                time.sleep(_GIVE_WAY_S)

    def enter_if_free(self) -> float:
        """Begin a turn as ``with`` does if it is free; else return 0."""
        # A thread that stores one job after the other would leave a fork no moment.
        if self.line or self.is_requested or not self._lock.acquire(blocking=False):
            return 0.0
        self.depth += 1
        now = time.monotonic()
        limit_s = self._limit_s
        if deadline.ends_at is not None:
            limit_s = left_s(limit_s)
        if now - self._gave_up_at < _HOPELESS_FOR_S:
            limit_s = min(limit_s, _SHORT_LIMIT_S)
        return now + limit_s

    def line_up(self, waiting: Waiting) -> float:
        """Begin a turn as ``with`` does, or return 0 once another thread has stored it.

        Raises:
            StorageBusyError: Other threads have kept the turn for too long, and none
                has taken the statement out of the line.
        """
        ends_at = time.monotonic() + left_s(self._limit_s)
        waiting.called.acquire()
        self.line.append(waiting)
        try:
            while (
                self.is_requested
                or waiting.is_at_disk
                or not self._lock.acquire(blocking=False)
            ):
                left = ends_at - time.monotonic()
                # Who has taken it out has the lock of the file, and is soon done.
                if left <= 0 and self._leave(waiting):
                    raise _too_long()
                pause_s = _LOOK_AGAIN_S if left <= 0 else min(left, _LOOK_AGAIN_S)
                waiting.called.acquire(timeout=pause_s)
                if waiting.is_stored:
                    return 0.0
            self.depth += 1
        finally:
            self._leave(waiting)
        if waiting.is_stored:
            self.__exit__(None, None, None)
            return 0.0
        return self._shortened(ends_at)

    @contextlib.contextmanager
    def unless(self, is_done: Callable[[], bool]) -> Iterator[float]:
        """Take a turn for a block as ``with`` does, or none and yield 0 once done.

        The thread that has the turn may wait for a lock of the calling one.

        Raises:
            StorageBusyError: Another thread has kept the turn for too long.
        """
        ends_at = time.monotonic() + left_s(self._limit_s)
        while not self.acquire(_LOOK_AGAIN_S):
            if is_done():
                yield 0.0
                return
            if time.monotonic() >= ends_at:
                raise _too_long()
        with contextlib.ExitStack() as turn:
            turn.push(self.__exit__)
            yield self._shortened(ends_at)

    def _shortened(self, ends_at: float) -> float:
        now = time.monotonic()
        if now - self._gave_up_at < _HOPELESS_FOR_S:
            return min(ends_at, now + _SHORT_LIMIT_S)
        return ends_at

    def _leave(self, waiting: Waiting) -> bool:
        """Leave the line; return False if another thread has taken it out."""
        try:
            self.line.remove(waiting)
        except ValueError:
            return False
        return True

    def call_next(self) -> None:
        """Tell the first in the line that the turn is free."""
        with contextlib.suppress(IndexError):  # it has left meanwhile
            self.line[0].call()


def _too_long() -> StorageBusyError:
    return StorageBusyError("another thread has been writing for too long")
