"""Forks: keeps a child from using the resources of its parent.

Python runs hooks around its own forks. A server that forks in C, as uWSGI does, runs
none, so state that belongs to one process also compares the process id at each use.
To ask the system for it costs more than many a use, so the id stands in memory that the
system clears in a child.
"""

from __future__ import annotations

import contextlib
import logging  # noqa: F401  # registers its fork hooks first, so ours run before them
import mmap
import os
import signal
import stat
import sys
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol

# How long a fork waits for the database work of other threads.
LONGEST_WAIT_S = 5.0
_LEAST_WAIT_S = 0.5  # for each database, whatever others have taken
_SQLITE_HEADER = b"SQLite format 3\0"
# madvise(2), since Linux 4.14; Python has no name for it. No system has the other.
_WIPE_ON_FORK, _UNKNOWN_ADVICE = 18, -1


class _SystemsId:
    """Asks the system at each look."""

    def __getitem__(self, _: int) -> int:
        return os.getpid()

    def __setitem__(self, _: int, pid: int) -> None:
        """Do nothing: the system knows it."""


def _kept_id() -> memoryview[int] | _SystemsId:
    if sys.platform != "linux":
        return _SystemsId()
    page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        page.madvise(_WIPE_ON_FORK)
    except OSError:
        return _SystemsId()
    with contextlib.suppress(OSError):
        page.madvise(_UNKNOWN_ADVICE)
        return _SystemsId()  # an emulator that accepts every advice and obeys none
    return memoryview(page).cast("q")


# PID[0] is the id of this process, or 0 in a child until its first own_pid().
PID = _kept_id()


def own_pid() -> int:
    """Return the id of this process, and keep it in ``PID``."""
    PID[0] = pid = os.getpid()
    return pid


own_pid()


class PerProcess(ABC):
    """State that belongs to one process; a child starts with its own."""

    _pid = -1
    _beginning = threading.RLock()  # taken by the first use in a process only

    def stay_own(self) -> None:
        """Start afresh in a forked child.

        Call it before taking a lock: in a child, threads that no longer exist may hold
        the parent's locks.
        """
        if self._pid != PID[0] and self._pid != own_pid():
            with PerProcess._beginning:
                if self._pid != PID[0]:
                    self._begin()
                    self._pid = PID[0]

    @abstractmethod
    def _begin(self) -> None:
        """Set up the state of this process; if it raises, the next use tries again."""

    @staticmethod
    def forget_beginning() -> None:
        """Replace the lock in a child, because a thread of the parent may hold it."""
        PerProcess._beginning = threading.RLock()


class Forkable(Protocol):
    """Has something to close around a fork.

    The forking thread calls the methods; they must not import or log anything.
    """

    def before_fork(self, ends_at: float) -> None:
        """Close the resources that a child must not inherit, and keep them closed.

        The fork waits until ``ends_at`` on the monotonic clock.
        """

    def after_fork_in_parent(self) -> None:
        """Allow opening again; may be called without :meth:`before_fork`."""


SignalHandler = Callable[[int, FrameType | None], None]


class _Forks:
    """Closes every watched item around each fork of this process."""

    def __init__(self) -> None:
        self._watched: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self._private: weakref.WeakSet[FileIO] = weakref.WeakSet()
        self.on_sigterm: SignalHandler | None = None
        self.inherited: frozenset[tuple[int, int]] = frozenset()
        self._begin()

    def _begin(self) -> None:
        # Reentrant: a signal handler may fork while a fork waits.
        self._lock = threading.RLock()
        self._depth = 0
        self._forker: int | None = None
        self._signal_mask: set[int] | None = None

    def watch(self, item: Forkable) -> None:
        """Close the item around each fork for as long as it lives."""
        with self._lock:
            self._watched.add(item)

    def private_pipe(self) -> tuple[int, FileIO]:
        """Make a pipe whose reader notices when this process closes it or ends.

        A forked child would keep the writing end, so the child closes its copy at once.
        A fork in C keeps it.

        Returns:
            The descriptor to read, and the writing end.
        """
        with self._lock:
            reader, writer = os.pipe()
            end = FileIO(writer, "wb")
            self._private.add(end)
        return reader, end

    def before(self) -> None:
        """Close everything; the fork follows even if this fails."""
        self._lock.acquire()
        self._forker = threading.get_ident()
        self._depth += 1
        if self._depth == 1:
            if self.on_sigterm is not None:
                self._signal_mask = signal.pthread_sigmask(
                    signal.SIG_BLOCK, [signal.SIGTERM]
                )
            ends_at = time.monotonic() + LONGEST_WAIT_S
            for item in list(self._watched):
                item.before_fork(max(ends_at, time.monotonic() + _LEAST_WAIT_S))

    def after_in_parent(self) -> None:
        """Allow opening again, also if the fork failed."""
        if self._forker != threading.get_ident():
            return  # a signal interrupted before()
        self._depth -= 1
        mask = None
        if not self._depth:
            self._forker = None
            for item in list(self._watched):
                item.after_fork_in_parent()
            mask, self._signal_mask = self._signal_mask, None
        self._lock.release()
        if mask is not None:  # last, because a handler may raise
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def after_in_child(self) -> None:
        """Start with new locks, and remember which files the parent had open."""
        own_pid()
        on_sigterm = signal.getsignal(signal.SIGTERM)
        if on_sigterm is not None and on_sigterm == self.on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._signal_mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._signal_mask)
        for end in list(self._private):
            end.close()
        self._begin()
        PerProcess.forget_beginning()
        if self._watched:
            self.inherited |= set(open_databases())


def open_databases() -> Iterator[tuple[int, int]]:
    """Yield device and inode of each SQLite file that this process has open.

    None on a system without ``/dev/fd``.
    """
    with contextlib.suppress(OSError):
        for entry in Path("/dev/fd").iterdir():
            with contextlib.suppress(OSError):  # unreadable, or closed meanwhile
                descriptor = int(entry.name)
                facts = os.fstat(descriptor)
                if not stat.S_ISREG(facts.st_mode):
                    continue
                if os.pread(descriptor, len(_SQLITE_HEADER), 0) == _SQLITE_HEADER:
                    yield facts.st_dev, facts.st_ino


_forks = _Forks()
# A fork hook cannot be unregistered, so there is one for all items.
os.register_at_fork(
    before=_forks.before,
    after_in_parent=_forks.after_in_parent,
    after_in_child=_forks.after_in_child,
)


watch = _forks.watch
private_pipe = _forks.private_pipe


def handle_sigterm(handler: SignalHandler) -> object:
    """Handle SIGTERM in this process; it ends a child that is forked from now on.

    A pool of multiprocessing ends its processes with it and waits for them for ever.

    Returns:
        The former handler, as :func:`signal.signal` does.
    """
    _forks.on_sigterm = handler
    return signal.signal(signal.SIGTERM, handler)


def end_child(job_id: str) -> NoReturn:
    """End this process, which is a child that a task has forked.

    A child that comes back from the task would go on as a second worker, with the jobs
    and connections of the first. It ends with status 1 and does nothing else, because
    other threads of its parent may have held the lock of a log or a file.
    """
    line = f"the task of job {job_id} returned in a forked child; the child exits\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    os._exit(1)


def at_end_of_child(owner: object, work: Callable[[], object]) -> None:
    """Call ``work`` at the end of this process, or once ``owner`` is gone.

    Does nothing but in a child of multiprocessing, which runs no exit handlers.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(owner, work, exitpriority=0)


def was_inherited(path: Path) -> bool:
    """Return whether the parent had a SQLite file open when it forked this process.

    False after a fork in C, or if nothing was watched before the fork.
    """
    if not _forks.inherited:
        return False
    try:
        facts = path.stat()
    except OSError:
        return False
    return (facts.st_dev, facts.st_ino) in _forks.inherited
