"""Procrastinate: a synchronous producer, an ``async`` worker with psycopg.

The tasks are coroutines, which it runs faster than functions.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from tests.benchmarks.contender import THREADS, Contender, looping
from tests.benchmarks.measure import UNTIMED, Watch, observe, sent_now

_POOL_SIZE = THREADS + 4  # a job each, the claim, the heartbeat, LISTEN, one spare


async def _noop() -> None:
    """Do nothing."""


class ProcrastinateQueue(Contender):
    """Tasks of a Procrastinate application."""

    bulk_api = "batch_defer"

    def __init__(self, backend: str, location: str, watch: Watch) -> None:
        super().__init__(backend, location, watch)
        self._producer: Any = App(connector=SyncPsycopgConnector(conninfo=location))
        self._register(self._producer)
        self._producer.open()

    def _register(self, app: Any) -> None:
        async def timed(sent_ns: int) -> None:
            self.watch.started(sent_ns)

        app.task(name="noop")(_noop)
        app.task(name="timed")(timed)

    def prepare(self) -> None:
        """Apply its schema."""
        self._producer.schema_manager.apply_schema()

    def facts(self) -> str:
        """Ask a connection of the producer's pool."""
        with self._producer.connector.pool.connection() as connection:
            (is_on,) = connection.execute("SHOW synchronous_commit").fetchone()
        return f"synchronous_commit={is_on}"

    def enqueue(self, count: int) -> None:
        """Defer one at a time."""
        task = self._producer.tasks["noop"]
        for _ in range(count):
            task.defer()

    def bulk(self, count: int) -> None:
        """Defer a batch."""
        self._producer.tasks["noop"].batch_defer(*({} for _ in range(count)))

    def produce(self, moments: Iterable[bool]) -> None:
        """Defer the timed task."""
        task = self._producer.tasks["timed"]
        for is_timed in moments:
            task.defer(sent_ns=sent_now() if is_timed else UNTIMED)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Run a worker with a concurrency of ``THREADS``."""
        with looping(self._work):
            yield

    async def _work(self, stop: asyncio.Event) -> None:
        connector = PsycopgConnector(
            conninfo=self.location, min_size=_POOL_SIZE, max_size=_POOL_SIZE
        )
        app: Any = App(connector=connector)
        self._register(app)
        async with app.open_async():
            manager = app.job_manager
            observe(manager, "fetch_job", before=self.watch.claims)
            observe(manager, "finish_job", after=lambda *_: self.watch.stored(1))
            worker = asyncio.create_task(
                app.run_worker_async(concurrency=THREADS, install_signal_handlers=False)
            )
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((worker, stopping), return_when=asyncio.FIRST_COMPLETED)
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
