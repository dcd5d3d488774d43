"""Contender: what a queue must offer to be measured, and the list of those that do."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import importlib
import importlib.util
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager

from tests.benchmarks.measure import Watch

THREADS = 8
OURS = "flask-forge-jobs"
# Ours without the figures for the charts, to see what recording costs.
UNCOUNTED = "uncounted"
# No queue at all: the part of each figure that no queue can save.
BARE = "bare"
# Per backend: ours first, then the peers that need no further server.
CONTENDERS = {
    "sqlite": (OURS, "Huey"),
    "postgres": (OURS, "Huey", "Procrastinate", "PgQueuer"),
}
_HOMES = {
    OURS: "ours:OurQueue",
    UNCOUNTED: "ours:UncountedQueue",
    BARE: "bare:BareQueue",
    "Huey": "peer_huey:HueyQueue",
    "Procrastinate": "peer_procrastinate:ProcrastinateQueue",
    "PgQueuer": "peer_pgqueuer:PgQueuerQueue",
}
_REQUIRED = {
    ("Huey", "sqlite"): ("huey",),
    ("Huey", "postgres"): ("huey", "psycopg"),
    ("Procrastinate", "postgres"): ("procrastinate", "psycopg"),
    ("PgQueuer", "postgres"): ("pgqueuer", "psycopg", "asyncpg"),
}
_STOP_S = 10.0


class Contender(abc.ABC):
    """One queue on one database.

    Args:
        backend: ``sqlite`` or ``postgres``.
        location: The SQLite file or the PostgreSQL URL.
        watch: Is told of every claim, start and finish.
    """

    bulk_api = ""

    def __init__(self, backend: str, location: str, watch: Watch) -> None:
        self.backend = backend
        self.location = location
        self.watch = watch

    @abc.abstractmethod
    def prepare(self) -> None:
        """Create the schema."""

    @abc.abstractmethod
    def facts(self) -> str:
        """Say what decides the figures: durability as the live connection has it."""

    @abc.abstractmethod
    def enqueue(self, count: int) -> None:
        """Store jobs that do nothing, each with a commit of its own."""

    def bulk(self, count: int) -> None:
        """Store jobs that do nothing with one call of the bulk API."""
        raise NotImplementedError(count)

    @abc.abstractmethod
    def produce(self, moments: Iterable[bool]) -> None:
        """Store a job at each moment, timed or not; it tells the watch of its start."""

    @abc.abstractmethod
    def working(self) -> AbstractContextManager[None]:
        """Run a worker with ``THREADS`` slots in this process."""

    def fill(self, count: int) -> None:
        """Store jobs that do nothing, as fast as can be."""
        if self.bulk_api:
            self.bulk(count)
        else:
            self.enqueue(count)


def missing_packages(name: str, backend: str) -> list[str]:
    """Return what would have to be installed to measure a contender."""
    return [
        package
        for package in _REQUIRED.get((name, backend), ())
        if importlib.util.find_spec(package) is None
    ]


def make_contender(name: str, backend: str, location: str, watch: Watch) -> Contender:
    """Return a contender; its package is imported here and nowhere else."""
    module, _, factory = _HOMES[name].partition(":")
    home = importlib.import_module(f"tests.benchmarks.{module}")
    made: Contender = getattr(home, factory)(backend, location, watch)
    return made


@contextlib.contextmanager
def looping(
    run: Callable[[asyncio.Event], Coroutine[None, None, None]],
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[None]:
    """Run an ``async`` worker in an event loop in a thread.

    Args:
        run: The worker; returns after the event that it is given is set.
        new_loop: Makes the loop.
    """
    loop = new_loop()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(run(stop)), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_STOP_S)
