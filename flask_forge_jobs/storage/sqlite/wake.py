"""Wake-ups between processes that share a SQLite file.

Each listening process binds a datagram socket in a folder beside the database. At its
commit, or just before it within the gate, a producer sends the queue's name to each
socket. Listeners also poll ``PRAGMA data_version``, less often the longer the file
stays quiet, to notice lost datagrams, those that came before the commit, and writes by
other programs.

Others may be able to put something in the place of that folder. So it is opened once, a
link is refused, and files in it are removed by its descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import socket
import stat
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import PID, PerProcess
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.database import WakeCallback
from flask_forge_jobs.storage.sqlite.files import (
    make_folder_beside,
    mode_beside,
    open_folder_beside,
)

logger = get_logger(__name__)

_SUFFIX = "-wake"
_NAME_BYTES = 8
# An address has 108 bytes on Linux and 104 on macOS, with a slash and a closing NUL.
_PREFIX_BYTES = 100 - 2 * _NAME_BYTES
_DATAGRAM_BYTES = 1024
# Modification times are only exact to a few milliseconds.
_STAMP_TICK_US = 100_000
QUICK_LOOK_S = 0.05
SLOW_LOOK_S = 0.5
# Factor by which the interval grows after each poll without a change.
_SLOWER = 1.25


class _Folder:
    """The folder of the sockets, open until this object goes, and their names.

    ``stamp`` tells this folder, and this state of it, from others.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = open_folder_beside(path, _SUFFIX)
        self.close = weakref.finalize(self, os.close, self._descriptor)
        self._prefix = f"{path}{_SUFFIX}"
        if len(os.fsencode(self._prefix)) > _PREFIX_BYTES:
            self._prefix = f"/proc/self/fd/{self._descriptor}"
        self.stamp = _stamp_of(os.fstat(self._descriptor))
        with os.scandir(self._descriptor) as entries:
            self.names = [each.name for each in entries if self._is_socket(each.name)]

    def _is_socket(self, name: str) -> bool:
        try:
            facts = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        return stat.S_ISSOCK(facts.st_mode)

    def address(self, name: str) -> str:
        """Return the address of a socket.

        Only Linux can connect by descriptor, and it is slow. Between the look at the
        stamp and the use of a path somebody may divert one datagram, a queue's name.
        """
        return f"{self._prefix}/{name}"

    def share(self, name: str, mode: int) -> None:
        """Set the mode of a socket."""
        # Fails if it is no socket any more, or with a C library older than 2021; other
        # users poll then.
        with contextlib.suppress(OSError, ValueError, NotImplementedError):
            os.chmod(name, mode, dir_fd=self._descriptor, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a socket, and nothing else of that name."""
        if self._is_socket(name):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._descriptor)


def _stamp_of(folder: os.stat_result) -> tuple[int, int]:
    """Return values that differ between two folders, and between two states of one."""
    return folder.st_ino, folder.st_mtime_ns


def remove_sockets(path: Path) -> None:
    """Remove the sockets beside a database, and their folder.

    Raises:
        OSError: The folder cannot be removed, or holds something else.
    """
    name = f"{path}{_SUFFIX}"
    if Path(name).is_symlink():
        Path(name).unlink()
        return
    with contextlib.suppress(FileNotFoundError):
        folder = _Folder(path)
        for socket_name in folder.names:
            folder.remove(socket_name)
        Path(name).rmdir()


class WakeSockets(PerProcess):
    """The sockets beside one database file, in a folder named ``<file>-wake``."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._folder_text = f"{path}{_SUFFIX}"
        self._clock = clock or SystemClock()
        self._sender: socket.socket | None = None
        self._end_sender: Callable[[], object] = lambda: None
        self._listed: _Folder | None = None
        self.stay_own()

    def _begin(self) -> None:
        self._own: set[str] = set()
        self._close_sender()

    def send(self, queue_name: str) -> None:
        """Tell every other listening process; never fails and never blocks."""
        if self._pid != PID[0]:
            self.stay_own()
        folder = self._listed  # close() may take it away meanwhile
        # Until somebody has listened; the error of lstat() would take 5 µs more.
        if folder is None and not os.access(self._folder_text, os.F_OK):
            return
        try:
            # Path.lstat() takes three calls more.
            stamp = _stamp_of(os.lstat(self._folder_text))
            if folder is None or folder.stamp != stamp:
                folder = self._list()
        except OSError:
            return  # nobody has listened yet, or it is not ours
        for name in folder.names:
            if name not in self._own:
                self._send_to(folder, name, queue_name.encode("utf-8"))

    def _list(self) -> _Folder:
        folder = _Folder(self._path)
        _, changed_at_ns = folder.stamp
        # A later change may get the same time stamp, so list it again.
        is_settled = self._clock.now_us() - changed_at_ns // 1000 > _STAMP_TICK_US
        self._listed = folder if is_settled else None
        return folder

    def _send_to(self, folder: _Folder, name: str, message: bytes) -> None:
        sender = self._sender  # close() may take it away meanwhile
        try:
            if sender is None:
                self._sender = sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                sender.setblocking(False)
                # Python warns of sockets that are open at exit.
                self._end_sender = weakref.finalize(self, sender.close)
            sender.sendto(message, folder.address(name))
        except OSError as error:
            # The job is stored, also if no descriptor is free to wake its worker.
            # A full socket belongs to a process that is awake; a refused one is dead.
            if error.errno == errno.ECONNREFUSED:
                folder.remove(name)

    def close(self) -> None:
        """Close the sending socket; a later wake-up opens a new one."""
        self.stay_own()
        self._close_sender()

    def _close_sender(self) -> None:
        if self._sender is not None:
            self._end_sender()
            self._sender = None
        self._listed = None

    def bind(self) -> tuple[socket.socket, Callable[[], None]]:
        """Return a bound socket and a function that removes it."""
        self.stay_own()
        make_folder_beside(self._path, _SUFFIX)
        folder = _Folder(self._path)
        name = secrets.token_hex(_NAME_BYTES)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            receiver.setblocking(False)
            receiver.bind(folder.address(name))
            folder.share(name, mode_beside(self._path))
        except BaseException:
            receiver.close()
            folder.close()
            raise
        self._own.add(name)

        def unbind() -> None:
            self._own.discard(name)
            receiver.close()
            folder.remove(name)
            folder.close()

        return receiver, unbind


class SqliteListener:
    """A thread that waits for wake-ups; implements :class:`.Listener`.

    ``forget`` ends the subscription within this process. ``sockets`` and
    ``data_version`` are None for a database in memory.
    """

    def __init__(
        self,
        callback: WakeCallback,
        *,
        forget: Callable[[], None],
        sockets: WakeSockets | None,
        data_version: Callable[[], object] | None,
    ) -> None:
        self._callback = callback
        self._forget = forget
        self._sockets = sockets
        self._data_version = data_version
        self._thread: threading.Thread | None = None
        self._receiver: socket.socket | None = None
        self._unbind: Callable[[], None] = lambda: None
        self._pid = os.getpid()
        self._stop_reader, self._stop_writer = os.pipe()
        if sockets is None:
            return
        try:
            self._receiver, self._unbind = sockets.bind()
        except OSError as error:
            logger.warning("no wake-up socket (%s); polling the file instead", error)
        self._thread = threading.Thread(
            target=self._run, name="forge-jobs-wake", daemon=True
        )
        self._thread.start()

    def is_pushing(self) -> bool:
        """Whether wake-ups from other processes arrive without polling."""
        thread = self._thread
        return self._receiver is not None and thread is not None and thread.is_alive()

    def notify(self, name: str) -> None:
        """Call the callbacks of other processes with a name."""
        if self._sockets is not None:
            self._sockets.send(name)

    def _run(self) -> None:
        # Not by a selector, which takes three calls more for each wake-up.
        sockets = select.poll()
        sockets.register(self._stop_reader, select.POLLIN)
        if self._receiver is not None:
            sockets.register(self._receiver, select.POLLIN)
        look_s = QUICK_LOOK_S
        seen = self._look(None)
        while True:
            ready = dict(sockets.poll(look_s * 1000))
            if self._stop_reader in ready:
                return
            if ready:
                self._receive()
                look_s = QUICK_LOOK_S
                continue
            before, seen = seen, self._look(seen)
            if seen != before:
                self._callback(None)
                look_s = QUICK_LOOK_S
            else:
                look_s = min(look_s * _SLOWER, SLOW_LOOK_S)

    def _look(self, seen: object) -> object:
        if self._data_version is None:
            return seen
        try:
            return self._data_version()
        except StorageError as error:
            logger.warning("cannot poll the database: %s", error)
            return seen

    def _receive(self) -> None:
        names: dict[str, None] = {}
        with contextlib.suppress(BlockingIOError):
            # The first one at once, as most come alone.
            self._callback(self._receive_one())
            while True:
                names[self._receive_one()] = None
        for name in names:
            self._callback(name)

    def _receive_one(self) -> str:
        assert self._receiver is not None  # noqa: S101  # only a bound socket is watched
        return self._receiver.recv(_DATAGRAM_BYTES).decode("utf-8", "replace")

    def stop(self) -> None:
        """End the subscription and the thread; nothing in a forked child."""
        if os.getpid() != self._pid:  # pipe and socket are the parent's
            return
        with contextlib.suppress(ValueError):
            self._forget()
        os.write(self._stop_writer, b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._unbind()
        os.close(self._stop_reader)
        os.close(self._stop_writer)
