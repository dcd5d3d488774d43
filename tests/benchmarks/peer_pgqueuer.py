"""PgQueuer: a synchronous producer, an ``async`` worker that claims batches of 100.

The worker uses asyncpg, its first choice. With psycopg its listener holds the only
connection for up to a second, which stalls a drain once and raises every p99.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from pgqueuer import AsyncpgDriver, QueueManager
from pgqueuer.db import SyncPsycopgDriver
from pgqueuer.queries import Queries, SyncQueries

from tests.benchmarks.contender import Contender, looping
from tests.benchmarks.measure import UNTIMED, Watch, observe, sent_now

BATCH = 100

# By name: they are dependencies of the peer, not of ours, so that types are checked
# alike with and without them.
_psycopg: Any = importlib.import_module("psycopg")
_asyncpg: Any = importlib.import_module("asyncpg")


class PgQueuerQueue(Contender):
    """Entry points of a :class:`QueueManager`."""

    bulk_api = "enqueue of lists"

    def __init__(self, backend: str, location: str, watch: Watch) -> None:
        super().__init__(backend, location, watch)
        self._connection: Any = _psycopg.connect(location, autocommit=True)
        self._producer: Any = SyncQueries(SyncPsycopgDriver(self._connection))

    def prepare(self) -> None:
        """Install its schema with its default, durable tables."""
        asyncio.run(self._install())

    async def _install(self) -> None:
        async with self._connection_of_loop() as connection:
            await Queries(AsyncpgDriver(connection)).install()

    @contextlib.asynccontextmanager
    async def _connection_of_loop(self) -> AsyncIterator[Any]:
        connection = await _asyncpg.connect(self.location)
        try:
            yield connection
        finally:
            await connection.close()

    def facts(self) -> str:
        """Ask the producer's connection, and whether any table is unlogged."""
        (is_on,) = self._connection.execute("SHOW synchronous_commit").fetchone()
        (unlogged,) = self._connection.execute(
            "SELECT count(*) FROM pg_class"
            " WHERE relname LIKE 'pgqueuer%' AND relpersistence = 'u'"
        ).fetchone()
        return (
            f"synchronous_commit={is_on} unlogged tables={unlogged} batches of {BATCH}"
        )

    def enqueue(self, count: int) -> None:
        """Enqueue one at a time."""
        for _ in range(count):
            self._producer.enqueue("noop", None)

    def bulk(self, count: int) -> None:
        """Enqueue lists in one call."""
        self._producer.enqueue(["noop"] * count, [None] * count, [0] * count)

    def produce(self, moments: Iterable[bool]) -> None:
        """Enqueue the timed entry point."""
        for is_timed in moments:
            sent_ns = sent_now() if is_timed else UNTIMED
            self._producer.enqueue("timed", b"%d" % sent_ns)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Run a queue manager; its coroutines need no slots."""
        with looping(self._work, _new_loop()):
            yield

    async def _work(self, stop: asyncio.Event) -> None:
        async with self._connection_of_loop() as connection:
            queries: Any = Queries(AsyncpgDriver(connection))
            observe(queries, "dequeue", before=self.watch.claims)
            observe(
                queries,
                "log_jobs",
                after=lambda args, _: self.watch.stored(len(args[0])),
            )
            manager: Any = QueueManager(queries)

            async def noop(job: Any) -> None:
                del job

            async def timed(job: Any) -> None:
                self.watch.started(int(job.payload))

            manager.entrypoint("noop")(noop)
            manager.entrypoint("timed")(timed)
            running = asyncio.create_task(manager.run(batch_size=BATCH))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
            manager.shutdown.set()
            await running


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the loop that its own command line prefers."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
            "uvloop"
        ).new_event_loop
    except ModuleNotFoundError:
        return asyncio.new_event_loop
    return factory
