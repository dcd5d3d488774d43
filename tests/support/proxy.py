"""A network that fails when told to: a TCP proxy between us and PostgreSQL.

It understands just enough of the protocol to lose the one answer that hurts: the one to
a ``COMMIT`` which the server has carried out.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from flask_forge_jobs.config.database import DatabaseSettings
from tests.support.wire import QUERY, READY, MessageStream, join

_CHUNK = 65_536
# How soon a silence or its end is noticed by a connection that is quiet.
_LOOK_PERIOD_S = 0.02
_RESET = struct.pack("ii", 1, 0)
_COMMIT = b"COMMIT\0"
_IDLE = b"I"
_ONE_BYTE_ANSWERS = (b"N", b"S", b"G")
Upstream = Callable[[], socket.socket]


def upstream_of(settings: DatabaseSettings) -> Upstream:
    """Return what connects to a server, over its Unix socket or over TCP."""
    host = settings.host or "localhost"

    def connect() -> socket.socket:
        if not host.startswith("/"):
            return socket.create_connection((host, settings.port))
        found = socket.socket(socket.AF_UNIX)
        found.connect(f"{host}/.s.PGSQL.{settings.port}")
        return found

    return connect


@dataclass(slots=True)
class Weather:
    """What befalls the connections of a proxy; change it at any time.

    Args:
        delay_s: Seconds by which each piece of data comes later, either way.
        is_silent: Nothing goes through, and nobody is told.
        cut_after: Bytes that still go through, both ways together; then the connection
            is reset that would send more, and others go on. None for no such limit.
        loses: Asked about each transaction that is about to be committed, by the text
            of its queries; whether the answer gets lost. The server commits, and the
            client's connection is reset instead of the answer.
        drops: Names of messages of the server that do not arrive, such as ``b"A"``,
            its notifications. Set it before the first connection.
        lost: How many answers got lost.
        cuts: How many connections were cut.
        passed: Bytes that went through.
        answers: Round trips: how often the server was ready for the next message.
    """

    delay_s: float = 0.0
    is_silent: bool = False
    cut_after: int | None = None
    loses: Callable[[bytes], bool] | None = None
    drops: Collection[bytes] = ()
    lost: int = 0
    cuts: int = 0
    passed: int = 0
    answers: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def allow(self, size: int) -> int:
        """Return how many of so many bytes may pass."""
        with self.lock:
            if self.cut_after is not None:
                if size > self.cut_after:
                    size, self.cut_after = self.cut_after, None
                    self.cuts += 1
                else:
                    self.cut_after -= size
            self.passed += size
            return size

    def loses_answer_to(self, transaction: bytes) -> bool:
        """Return whether the answer to a transaction gets lost."""
        with self.lock:
            return self.loses is not None and self.loses(transaction)

    def count_answers(self, count: int) -> None:
        """Count round trips that have ended."""
        with self.lock:
            self.answers += count


class Proxy:
    """Listens on a free port of loopback and passes everything on.

    Args:
        upstream: Connects to the server.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.weather = Weather()
        self._upstream = upstream
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._links: set[_Link] = set()
        self.accepted = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = self._upstream()
            except OSError:
                _reset(client)
                continue
            link = _Link(client, server, self.weather, self._forget)
            with self._lock:
                self._links.add(link)
                self.accepted += 1
            link.start()

    def _forget(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)

    @property
    def link_count(self) -> int:
        """How many connections there are."""
        with self._lock:
            return len(self._links)

    def freeze(self) -> int:
        """Let nothing through any more on the connections that there are.

        Nobody is told, and new ones work: as when something in between has forgotten
        them. Returns how many there were.
        """
        with self._lock:
            for link in self._links:
                link.is_frozen = True
            return len(self._links)

    def cut(self) -> int:
        """Reset every connection; return how many there were."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    def url_of(self, settings: DatabaseSettings) -> str:
        """Return the address of a database of the server by way of this."""
        who = settings.username or ""
        if settings.password:
            who += f":{quote(settings.password, safe='')}"
        where = f"127.0.0.1:{self.port}/{settings.database}"
        return f"postgresql://{who}@{where}?sslmode=disable"

    def close(self) -> None:
        """Stop listening and end every connection."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        self.cut()


@contextlib.contextmanager
def proxied(settings: DatabaseSettings) -> Iterator[Proxy]:
    """Run a proxy in front of a server."""
    proxy = Proxy(upstream_of(settings))
    try:
        yield proxy
    finally:
        proxy.close()


class _Link:
    """One connection through the proxy, served by a thread of its own."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        weather: Weather,
        forget: Callable[[_Link], None],
    ) -> None:
        self._client = client
        self._server = server
        self._weather = weather
        self._forget = forget
        self._asked = MessageStream(begins_bare=True)
        self._answered = MessageStream()
        self._transaction = b""
        self._is_doomed = False
        self.is_frozen = False
        self._is_cut = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        """Start to pass on."""
        self._thread.start()

    def cut(self) -> None:
        """Reset both ends."""
        self._is_cut.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._client, selectors.EVENT_READ)
                selector.register(self._server, selectors.EVENT_READ)
                while not self._is_cut.is_set() and self._pass_on(selector):
                    pass
        except OSError:
            pass  # one end is gone, so the other one goes too
        finally:
            _reset(self._client)
            _reset(self._server)
            self._forget(self)

    def _pass_on(self, selector: selectors.BaseSelector) -> bool:
        """Pass on what has come; return False when the connection is over."""
        self._wait_for_sound()
        for key, _ in selector.select(_LOOK_PERIOD_S):
            source = key.fileobj
            assert isinstance(source, socket.socket)
            data = source.recv(_CHUNK)
            if not data:
                return False
            # The silence may have begun since the look; what has come is kept, and lost
            # by a cut: it would reach the server when its sender has given up.
            self._wait_for_sound()
            if self._is_cut.is_set():
                return False
            if self._weather.delay_s:
                time.sleep(self._weather.delay_s)
            sends = self._send_down if source is self._server else self._send_up
            if not sends(data):
                return False
        return True

    def _wait_for_sound(self) -> None:
        while (self._weather.is_silent or self.is_frozen) and not self._is_cut.is_set():
            self._is_cut.wait(_LOOK_PERIOD_S)

    def _send_up(self, data: bytes) -> bool:
        for name, body in self._asked.feed(data):
            if name != QUERY:
                continue
            self._transaction += body
            commits = body.endswith(_COMMIT) or b"BEGIN" not in self._transaction
            if commits and self._weather.loses_answer_to(self._transaction):
                self._is_doomed = True
        return self._send(self._server, data)

    def _send_down(self, data: bytes) -> bool:
        if not self._is_doomed:
            return self._send(self._client, self._arriving(data))
        if any(name == READY for name, _ in self._answered.feed(data)):
            self._weather.lost += 1
            return False
        return True

    def _arriving(self, data: bytes) -> bytes:
        """Note the server's answers; return what arrives of them."""
        # The answer to a wish for encryption is no message.
        if data in _ONE_BYTE_ANSWERS:
            return data
        messages = self._answered.feed(data)
        self._weather.count_answers(sum(name == READY for name, _ in messages))
        if (READY, _IDLE) in messages:
            self._transaction = b""
        dropped = self._weather.drops
        if not dropped:
            return data
        return b"".join(join(*each) for each in messages if each[0] not in dropped)

    def _send(self, target: socket.socket, data: bytes) -> bool:
        allowed = self._weather.allow(len(data))
        target.sendall(data[:allowed])
        return allowed == len(data)


def _reset(end: socket.socket) -> None:
    """Close a socket at once, as a machine does that has forgotten the connection."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()
