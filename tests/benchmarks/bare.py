"""The bare database: a table, an index, a wake-up and one thread, no queue around it.

It keeps the promise that is measured, a durable job that is claimed durably before it
runs, and nothing else: no retries, limits, rescue, counts or listings. What a queue
takes beside it is its own; what both take belongs to the database, the disk and Python.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psycopg2

from tests.benchmarks.contender import Contender
from tests.benchmarks.measure import UNTIMED, Watch, sent_now

_WAITING, _CLAIMED = 0, 1
_LOOK_EVERY_S = 1.0
_TABLE = (
    "CREATE TABLE bare_job (id {key}, status INTEGER NOT NULL, payload TEXT NOT NULL)"
)
_INDEX = "CREATE INDEX bare_waiting ON bare_job (id) WHERE status = 0"
_ENQUEUE = f"INSERT INTO bare_job (status, payload) VALUES ({_WAITING}, {{payload}})"
_CLAIM = (
    f"UPDATE bare_job SET status = {_CLAIMED} WHERE id = (SELECT id FROM bare_job"
    f" WHERE status = {_WAITING} ORDER BY id LIMIT 1 {{lock}}) RETURNING id, payload"
)
_FINISH = "DELETE FROM bare_job WHERE id = {id}"


class _SqliteFile:
    """A file in WAL mode that syncs each commit; a datagram says that it changed."""

    claim = _CLAIM.format(lock="")
    finish = _FINISH.format(id="?")
    table = _TABLE.format(key="INTEGER PRIMARY KEY")

    def __init__(self, location: str) -> None:
        self._connection = sqlite3.connect(
            location, isolation_level=None, check_same_thread=False, timeout=60
        )
        self.run("PRAGMA journal_mode = WAL")
        self.run("PRAGMA synchronous = FULL")
        self._wake_up = f"{location}-bare"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def facts(self) -> str:
        ((level,),) = self.run("PRAGMA synchronous")
        ((mode,),) = self.run("PRAGMA journal_mode")
        return f"synchronous={level} journal_mode={mode}"

    def run(self, statement: str, *values: object) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    def enqueue(self, payload: str) -> None:
        self.run(_ENQUEUE.format(payload="?"), payload)
        with contextlib.suppress(OSError):  # nobody waits
            self._socket.sendto(b"!", self._wake_up)

    def listen(self) -> Callable[[], object]:
        self._socket.bind(self._wake_up)

        def wait() -> None:
            if select.select([self._socket], [], [], _LOOK_EVERY_S)[0]:
                self._socket.recv(1)

        return wait


class _PostgresDatabase:
    """A connection of psycopg2; a notification, sent with the commit, wakes."""

    claim = _CLAIM.format(lock="FOR UPDATE SKIP LOCKED")
    finish = _FINISH.format(id="%s")
    table = _TABLE.format(key="BIGSERIAL PRIMARY KEY")

    def __init__(self, location: str) -> None:
        self._location = location
        self._connection = self._connect()

    def _connect(self) -> Any:
        connection = psycopg2.connect(self._location)
        connection.autocommit = True
        return connection

    def facts(self) -> str:
        ((is_on,),) = self.run("SHOW synchronous_commit")
        return f"synchronous_commit={is_on}"

    def run(self, statement: str, *values: object) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return [] if cursor.description is None else list(cursor.fetchall())

    def enqueue(self, payload: str) -> None:
        stored = _ENQUEUE.format(payload="%s")
        self.run(
            f"WITH stored AS ({stored} RETURNING id)"
            " SELECT pg_notify('bare', '') FROM stored",
            payload,
        )

    def listen(self) -> Callable[[], object]:
        connection = self._connect()
        with connection.cursor() as cursor:
            cursor.execute("LISTEN bare")

        def wait() -> None:
            if select.select([connection], [], [], _LOOK_EVERY_S)[0]:
                connection.poll()
                connection.notifies.clear()

        return wait


class BareQueue(Contender):
    """Jobs in a table that one thread runs one after the other."""

    def __init__(self, backend: str, location: str, watch: Watch) -> None:
        super().__init__(backend, location, watch)
        self._database = (
            _SqliteFile(location)
            if backend == "sqlite"
            else _PostgresDatabase(location)
        )

    def prepare(self) -> None:
        """Create the table and its index."""
        self._database.run(self._database.table)
        self._database.run(_INDEX)

    def facts(self) -> str:
        """Ask the connection that enqueues."""
        return self._database.facts()

    def enqueue(self, count: int) -> None:
        """Store one at a time."""
        for _ in range(count):
            self._database.enqueue(str(UNTIMED))

    def produce(self, moments: Iterable[bool]) -> None:
        """Store one at each moment."""
        for is_timed in moments:
            self._database.enqueue(str(sent_now() if is_timed else UNTIMED))

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Run the thread."""
        over = threading.Event()
        wait = self._database.listen()
        thread = threading.Thread(target=self._work, args=(wait, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _work(self, wait: Callable[[], object], over: threading.Event) -> None:
        while not over.is_set():
            self.watch.claims()
            claimed = self._database.run(self._database.claim)
            if not claimed:
                wait()
            for job_id, payload in claimed:
                self.watch.started(int(payload))
                self._database.run(self._database.finish, job_id)
                self.watch.stored(1)
