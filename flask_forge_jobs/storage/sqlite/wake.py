"""Wake-ups between processes that share a SQLite file.

Each listening process binds a datagram socket in a folder beside the database. After
its commit a producer sends the queue's name to each socket. Listeners also poll
``PRAGMA data_version``, less often the longer the file stays quiet, to notice lost
datagrams and writes by other programs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import selectors
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.database import WakeCallback
from flask_forge_jobs.storage.sqlite.files import make_folder_beside, mode_beside

logger = get_logger(__name__)

_SUFFIX = "-wake"
_SUN_PATH_BYTES = 100  # 108 on Linux, 104 on macOS, with the closing NUL
_DATAGRAM_BYTES = 1024
# Modification times are only exact to a few milliseconds.
_STAMP_TICK_US = 100_000
QUICK_LOOK_S = 0.05
SLOW_LOOK_S = 0.5
# Factor by which the interval grows after each poll without a change.
_SLOWER = 1.25


class WakeSockets(PerProcess):
    """The sockets beside one database file, in a folder named ``<file>-wake``."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._folder = Path(f"{path}{_SUFFIX}")
        self._folder_text = str(self._folder)
        self._clock = clock or SystemClock()
        self._sender: socket.socket | None = None
        self._end_sender: Callable[[], object] = lambda: None
        self._listed_at_ns = -1
        self._names: list[str] = []
        self.stay_own()

    def _begin(self) -> None:
        self._own: set[str] = set()
        self._close_sender()

    def send(self, queue_name: str) -> None:
        """Tell every other listening process; never fails and never blocks."""
        if self._pid != os.getpid():
            self.stay_own()
        try:
            # Path.stat() takes three calls more.
            changed_at_ns = os.stat(self._folder_text).st_mtime_ns  # noqa: PTH116
            if changed_at_ns != self._listed_at_ns:
                self._list(changed_at_ns)
        except OSError:
            return  # nobody has listened yet
        for name in self._names:
            if name not in self._own:
                self._send_to(name, queue_name.encode("utf-8"))

    def _list(self, changed_at_ns: int) -> None:
        age_us = self._clock.now_us() - changed_at_ns // 1000
        self._names = [entry.name for entry in self._folder.iterdir()]
        # A later change may get the same time stamp, so list it again.
        is_settled = age_us > _STAMP_TICK_US
        self._listed_at_ns = changed_at_ns if is_settled else -1

    def _send_to(self, name: str, message: bytes) -> None:
        sender = self._sender  # close() may take it away meanwhile
        if sender is None:
            self._sender = sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sender.setblocking(False)
            # Python warns of sockets that are open at exit.
            self._end_sender = weakref.finalize(self, sender.close)
        try:
            with _short_path(self._folder, name) as address:
                sender.sendto(message, address)
        except OSError as error:
            # A full socket belongs to a process that is awake; a refused one is dead.
            if error.errno == errno.ECONNREFUSED:
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()

    def close(self) -> None:
        """Close the sending socket; a later wake-up opens a new one."""
        self.stay_own()
        self._close_sender()

    def _close_sender(self) -> None:
        if self._sender is not None:
            self._end_sender()
            self._sender = None

    def bind(self) -> tuple[socket.socket, Callable[[], None]]:
        """Return a bound socket and a function that removes it."""
        self.stay_own()
        make_folder_beside(self._path, _SUFFIX)
        name = secrets.token_hex(8)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            receiver.setblocking(False)
            with _short_path(self._folder, name) as address:
                receiver.bind(address)
            (self._folder / name).chmod(mode_beside(self._path))
        except BaseException:
            receiver.close()
            raise
        self._own.add(name)

        def unbind() -> None:
            self._own.discard(name)
            receiver.close()
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()

        return receiver, unbind


@contextlib.contextmanager
def _short_path(folder: Path, name: str) -> Iterator[str]:
    """Yield a socket address that fits the kernel's limit on its length."""
    address = str(folder / name)
    if len(os.fsencode(address)) <= _SUN_PATH_BYTES:
        yield address
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


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

    def tell(self, name: str) -> None:
        """Call the callbacks of other processes with a name."""
        if self._sockets is not None:
            self._sockets.send(name)

    def _run(self) -> None:
        with selectors.PollSelector() as selector:
            selector.register(self._stop_reader, selectors.EVENT_READ)
            if self._receiver is not None:
                selector.register(self._receiver, selectors.EVENT_READ)
            self._serve(selector)

    def _serve(self, selector: selectors.BaseSelector) -> None:
        look_s = QUICK_LOOK_S
        seen = self._look(None)
        while True:
            ready = [key.fileobj for key, _ in selector.select(look_s)]
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
        assert self._receiver is not None  # noqa: S101  # only a bound socket is watched
        names: dict[str, None] = {}
        with contextlib.suppress(BlockingIOError):
            while True:
                names[
                    self._receiver.recv(_DATAGRAM_BYTES).decode("utf-8", "replace")
                ] = None
        for name in names:
            self._callback(name)

    def stop(self) -> None:
        """End the subscription and the thread."""
        with contextlib.suppress(ValueError):
            self._forget()
        os.write(self._stop_writer, b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._unbind()
        os.close(self._stop_reader)
        os.close(self._stop_writer)
