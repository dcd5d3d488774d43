"""Huey on SQLite or PostgreSQL, with a consumer of threads.

It deletes a job when it is taken, so a finish stores nothing: a job that runs when its
process dies is lost. Its polling is left at its defaults.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from huey import PostgresHuey, SqliteHuey

from tests.benchmarks.application import noop
from tests.benchmarks.contender import THREADS, Contender
from tests.benchmarks.measure import UNTIMED, Watch, observe, sent_now


class HueyQueue(Contender):
    """Tasks of a Huey; it has no bulk API."""

    def __init__(self, backend: str, location: str, watch: Watch) -> None:
        super().__init__(backend, location, watch)
        self._huey: Any = (
            # Its own setting leaves SQLite's default, which is FULL in most builds.
            SqliteHuey(filename=location, fsync=True, create_tables=False)
            if backend == "sqlite"
            else PostgresHuey(dsn=location, create_tables=False)
        )
        self._noop = self._huey.task(name="noop")(noop)
        self._timed = self._huey.task(name="timed")(watch.started)

    def prepare(self) -> None:
        """Create the tables."""
        self._huey.storage.initialize_schema()

    def facts(self) -> str:
        """Ask the connection that Huey enqueues with."""
        storage = self._huey.storage
        if self.backend == "sqlite":
            ((level,),) = storage.sql("PRAGMA synchronous", results=True)
            ((journal,),) = storage.sql("PRAGMA journal_mode", results=True)
            return f"fsync=True: synchronous={level} journal_mode={journal}"
        ((is_on,),) = storage.sql("SHOW synchronous_commit", results=True)
        return f"synchronous_commit={is_on}"

    def enqueue(self, count: int) -> None:
        """Call the task, which enqueues it."""
        for _ in range(count):
            self._noop()

    def produce(self, moments: Iterable[bool]) -> None:
        """Enqueue the timed task."""
        for is_timed in moments:
            self._timed(sent_now() if is_timed else UNTIMED)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Run a consumer of ``THREADS`` threads; must be called in the main thread."""
        observe(self._huey.storage, "dequeue", before=self.watch.claims)
        observe(self._huey, "execute", after=lambda *_: self.watch.stored(1))
        consumer = self._huey.create_consumer(workers=THREADS, periodic=False)
        consumer.start()
        try:
            yield
        finally:
            consumer.stop(graceful=True)
