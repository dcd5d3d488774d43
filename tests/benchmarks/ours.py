"""Ours: the extension on a Flask application, with a worker runtime in the process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import psycopg2
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.model.bounds import DEFAULT_QUEUE
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from tests.benchmarks.application import noop
from tests.benchmarks.contender import THREADS, Contender
from tests.benchmarks.measure import UNTIMED, Watch, observe, sent_now


def database_url(backend: str, location: str) -> str:
    """Return the value of ``FORGE_JOBS_DATABASE_URL``."""
    return f"sqlite:///{location}" if backend == "sqlite" else location


class OurQueue(Contender):
    """Tasks of a :class:`ForgeJobs`; each runs in an application context."""

    bulk_api = "enqueue_many"

    def __init__(
        self,
        backend: str,
        location: str,
        watch: Watch,
        *,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(backend, location, watch)
        self._app = Flask(__name__)
        self._app.config.update(settings)
        self._app.config["FORGE_JOBS_DATABASE_URL"] = database_url(backend, location)
        self._forge = ForgeJobs(self._app)
        self._state = state_of(self._app)
        self._noop = self._forge.task(noop)
        self._timed = self._forge.task(kind="timed")(watch.started)

    def prepare(self) -> None:
        """Create the schema and the queue."""
        self._state.storage.open()
        self._state.storage.queues.ensure(DEFAULT_QUEUE)

    def facts(self) -> str:
        """Ask a connection that was opened as the storage opens its own."""
        database = self._state.storage.database
        if isinstance(database, SqliteDatabase):
            live = database._state.connection()
            (level,) = live.execute("PRAGMA synchronous").fetchone()
            (journal,) = live.execute("PRAGMA journal_mode").fetchone()
            return f"synchronous={level} journal_mode={journal}"
        with contextlib.closing(psycopg2.connect(self.location)) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT relpersistence = 'p' FROM pg_class WHERE relname = 'forge_job'"
            )
            (is_logged,) = cursor.fetchone() or (False,)
        return f"psycopg2, table logged={is_logged}"

    def enqueue(self, count: int) -> None:
        """Call the task's ``enqueue``, as a view would."""
        with self._app.app_context():
            for _ in range(count):
                self._noop.enqueue()

    def bulk(self, count: int) -> None:
        """Make the jobs and store them in one call."""
        with self._app.app_context():
            self._forge.enqueue_many(self._noop.job() for _ in range(count))

    def produce(self, moments: Iterable[bool]) -> None:
        """Enqueue the timed task."""
        with self._app.app_context():
            for is_timed in moments:
                self._timed.enqueue(sent_now() if is_timed else UNTIMED)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Run a :class:`QueueRuntime` of ``THREADS`` threads."""
        # The dispatcher's one call writes what has ended and claims at once.
        observe(
            self._state.storage.jobs,
            "exchange",
            before=self.watch.claims,
            after=lambda args, done: self.watch.stored(
                len(args[1]) - len(done.refused)
            ),
        )
        runtime = self._state.runtime(THREADS).with_queues([DEFAULT_QUEUE])
        handle = runtime.start()
        try:
            yield
        finally:
            handle.shutdown_graceful()
            self._state.storage.close()


class Recording:
    """Switches off and on what a queue of ours counts and times for the charts."""

    def __init__(self, queue: OurQueue) -> None:
        storage = queue._state.storage
        self._recorder = storage.recorder
        self._flusher = storage.flusher
        times = (self._recorder.reads, self._recorder.writes)
        owners = ((self._recorder, _RECORDED), *((each, ("add",)) for each in times))
        self._verbs = [
            (owner, name, getattr(owner, name))
            for owner, names in owners
            for name in names
        ]

    def turn(self, *, on: bool) -> None:
        """Switch it."""
        for owner, name, verb in self._verbs:
            setattr(owner, name, verb if on else _nothing)

    def stop_thread(self) -> None:
        """Leave the writing to :meth:`write`."""
        self._recorder.on_activity = _nothing

    def write(self) -> None:
        """Store what was counted so far."""
        self._flusher.flush()


class UncountedQueue(OurQueue):
    """The same, but nothing is counted or timed for the charts."""

    def __init__(self, backend: str, location: str, watch: Watch) -> None:
        super().__init__(backend, location, watch)
        Recording(self).turn(on=False)


_RECORDED = ("enqueued", "enqueued_many", "started", "ended")


def _nothing(*_: object) -> None:
    pass
