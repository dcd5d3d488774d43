"""A database whose answers get lost after the commit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.storage.database import (
    Apart,
    Database,
    Listener,
    Parameter,
    Row,
    SchemaVersions,
    Transaction,
    WakeCallback,
)
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.recorder import Recorder

T = TypeVar("T")


class LossyDatabase:
    """Commits every write, loses the answer, and repeats it as a dialect would.

    Args:
        inner: The real database.
        between: Called after the commit whose answer is lost.
    """

    def __init__(
        self, inner: Database, between: Callable[[], object] = lambda: None
    ) -> None:
        self._inner = inner
        self._between = between
        self.backend = inner.backend
        self.known_version = inner.known_version
        self.turn = inner.turn

    def _meanwhile(self) -> None:
        """Let others make their calls, which this thread cannot within its own."""
        with ThreadPoolExecutor(1) as other:
            other.submit(self._between).result()

    def open(self) -> None:
        """Connect."""
        self._inner.open()

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        """Run the unit twice; the second run knows that it is a repetition."""

        self._inner.write(work, urgent=urgent)
        self._meanwhile()
        return self._inner.write(repeated(work), urgent=urgent)

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run the statement twice."""
        self._inner.execute(name, **parameters)
        self._meanwhile()
        return self._inner.execute(name, **parameters)

    def pipeline(self, work: Callable[[Transaction], T]) -> T:
        """Run the unit twice; the second run knows that it is a repetition."""
        self._inner.pipeline(work)
        self._meanwhile()
        return self._inner.pipeline(repeated(work))

    def begin(self, attempt: int) -> AbstractContextManager[Transaction]:
        """Open a transaction; nothing is lost."""
        return self._inner.begin(attempt)

    def join(self, connection: object, work: Callable[[Transaction], T]) -> T:
        """Run the unit once; the caller commits."""
        return self._inner.join(connection, work)

    def read(self, work: Callable[[Transaction], T], *, apart: Apart = False) -> T:
        """Run reads; nothing is lost."""
        return self._inner.read(work, apart=apart)

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run the statement; nothing is lost."""
        return self._inner.read_one(name, **parameters)

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue."""
        self._inner.wake(queue_name)

    def listen(self, callback: WakeCallback) -> Listener:
        """Subscribe to wake-ups."""
        return self._inner.listen(callback)

    def takes_writes(self) -> bool:
        """Return whether the database takes writes."""
        return self._inner.takes_writes()

    def schema_versions(self) -> SchemaVersions | None:
        """Return the versions of the schema."""
        return self._inner.schema_versions()

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return facts."""
        return self._inner.describe()

    @property
    def file(self) -> Path | None:
        """Return where the file is."""
        return self._inner.file

    def log_bytes(self) -> int:
        """Return the size of the log."""
        return self._inner.log_bytes()

    def close(self) -> None:
        """Close what this process opened."""
        self._inner.close()


def repeated(work: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
    def again(transaction: Transaction) -> T:
        transaction.attempt = 1
        return work(transaction)

    return again


def lossy_executor(
    inner: Database, between: Callable[[], object] = lambda: None
) -> StoreExecutor:
    """Return an executor for stores over a database whose answers get lost."""
    return StoreExecutor(LossyDatabase(inner, between))


def lossy_jobs(
    inner: Database, between: Callable[[], object] = lambda: None
) -> JobQueue:
    """Return the job verbs over a database whose answers get lost."""
    clock = SystemClock()
    executor, ids = lossy_executor(inner, between), UlidGenerator(clock)
    return JobQueue(executor, ids, clock, None, Recorder(clock))
