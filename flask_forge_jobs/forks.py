"""Forks: what a child must not take over from its parent.

Python runs hooks around a fork of its own. A server that forks in C, as uWSGI does,
runs none, so whoever keeps something for one process also compares the process id at
each use.
"""

from __future__ import annotations

import contextlib
import logging  # noqa: F401  # its hooks hold its lock; ours, which wait, run before
import os
import stat
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

# How long a fork waits for what is under way in other threads.
LONGEST_WAIT_S = 5.0
_SQLITE_HEADER = b"SQLite format 3\0"


class PerProcess(ABC):
    """State that belongs to one process; a child begins with its own."""

    _pid = 0
    # Only the first use in a process takes it.
    _beginning = threading.Lock()

    def stay_own(self) -> None:
        """Begin anew when this is no longer the process that began before.

        Every method calls it before it takes a lock: in a child the parent's locks may
        be held by threads that are not there.
        """
        if self._pid != os.getpid():
            with PerProcess._beginning:
                if self._pid != os.getpid():
                    self._begin()
                    self._pid = os.getpid()

    @abstractmethod
    def _begin(self) -> None:
        """Start with nothing; what it raises, the next use raises again."""

    @staticmethod
    def forget_beginning() -> None:
        """In a child: another thread of the parent may have been at its first use."""
        PerProcess._beginning = threading.Lock()


class Forkable(Protocol):
    """What has to be put away for the time of a fork.

    No method imports or logs anything, and each is called by the thread that forks.
    """

    def before_fork(self, ends_at: float) -> None:
        """Close what a child must not inherit, and keep others from opening it.

        Args:
            ends_at: Reading of the monotonic clock at which the fork waits no longer.
        """

    def after_fork_in_parent(self) -> None:
        """Let others open again; called without :meth:`before_fork`, too."""


class _Forks:
    """Puts everything away around each fork of this process."""

    def __init__(self) -> None:
        self._watched: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self.inherited: frozenset[tuple[int, int]] = frozenset()
        self._begin()

    def _begin(self) -> None:
        # Reentrant: a signal may come while a fork waits, and its handler may fork.
        self._lock = threading.RLock()
        self._depth = 0
        self._forker: int | None = None

    def watch(self, item: Forkable) -> None:
        """Put an item away at each fork for as long as it lives."""
        with self._lock:
            self._watched.add(item)

    def before(self) -> None:
        """Put everything away; the fork follows whatever happens here."""
        self._lock.acquire()
        self._forker = threading.get_ident()
        self._depth += 1
        if self._depth == 1:
            ends_at = time.monotonic() + LONGEST_WAIT_S
            for item in list(self._watched):
                item.before_fork(ends_at)

    def after_in_parent(self) -> None:
        """Go on as before; also when the fork failed."""
        if self._forker != threading.get_ident():
            return  # interrupted before it began
        self._depth -= 1
        if not self._depth:
            self._forker = None
            for item in list(self._watched):
                item.after_fork_in_parent()
        self._lock.release()

    def after_in_child(self) -> None:
        """Begin with locks of our own."""
        self._begin()
        PerProcess.forget_beginning()
        if self._watched:
            self.inherited |= set(_open_databases())


def _open_databases() -> Iterator[tuple[int, int]]:
    """Yield device and inode of each SQLite file that this process has open."""
    with contextlib.suppress(OSError):  # a system that does not tell
        for entry in Path("/dev/fd").iterdir():
            with contextlib.suppress(OSError):  # it cannot be read, or is closed by now
                descriptor = int(entry.name)
                facts = os.fstat(descriptor)
                if stat.S_ISREG(facts.st_mode) and _begins_as_sqlite(descriptor):
                    yield facts.st_dev, facts.st_ino


def _begins_as_sqlite(descriptor: int) -> bool:
    return os.pread(descriptor, len(_SQLITE_HEADER), 0) == _SQLITE_HEADER


_forks = _Forks()
# Hooks cannot be taken back: one for all.
os.register_at_fork(
    before=_forks.before,
    after_in_parent=_forks.after_in_parent,
    after_in_child=_forks.after_in_child,
)


def watch(item: Forkable) -> None:
    """Tell an item of every fork for as long as it lives."""
    _forks.watch(item)


def was_inherited(path: Path) -> bool:
    """Return whether a SQLite file was open when this process was forked.

    Nobody can tell after a fork in C, nor when nothing was watched before the fork.
    """
    if not _forks.inherited:
        return False
    try:
        facts = path.stat()
    except OSError:
        return False
    return (facts.st_dev, facts.st_ino) in _forks.inherited
