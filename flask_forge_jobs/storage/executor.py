"""Runs the calls of stores on a database, each write in a transaction of its own.

The stores of a request that changes something make their calls on a subclass of this
executor instead; see :mod:`.units`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TypeVar

from flask_forge_jobs.reentry import calls, within_another
from flask_forge_jobs.storage.database import (
    Apart,
    Database,
    Listener,
    Parameter,
    Query,
    Row,
    Transaction,
    WakeCallback,
)
from flask_forge_jobs.storage.pace import Pace
from flask_forge_jobs.storage.recorder import Recorder

T = TypeVar("T")
Mint = Callable[[int], list[str]]
"""Returns as many new ids."""


class StoreExecutor:
    """Runs the calls of stores, each write in a transaction of its own.

    It refuses a call within another one of its thread, and records how long reads and
    writes take, waits included: a second wrapper would slow down every call.
    """

    def __init__(self, database: Database, recorder: Recorder | None = None) -> None:
        self._database = database
        self._wrote = _ignore if recorder is None else recorder.writes.add
        self._read = _ignore if recorder is None else recorder.reads.add
        self.backend = database.backend
        self.wake = database.wake  # no method, because every enqueue calls it
        # On SQLite a statement that adds a job has itself woken the workers.
        has_woken = self.backend == "sqlite"
        self.wake_added = None if has_woken else database.wake

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        """See :meth:`.Executor.write`."""
        if calls.is_busy:
            raise within_another()
        since = perf_counter()
        try:
            calls.is_busy = True
            return self._database.write(work, urgent=urgent)
        finally:
            calls.is_busy = False
            self._wrote(perf_counter() - since)

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """See :meth:`.Executor.execute`."""
        if calls.is_busy:
            raise within_another()
        since = perf_counter()
        try:
            calls.is_busy = True
            return self._database.execute(name, **parameters)
        finally:
            calls.is_busy = False
            self._wrote(perf_counter() - since)

    when_stored: Callable[..., object] = staticmethod(operator.call)  # type: ignore[arg-type]
    """Calls something after the commit: at once, as each write has its own."""

    def pipeline(self, work: Callable[[Transaction], T]) -> T:
        """See :meth:`.Database.pipeline`."""
        return self._alone(self._wrote, partial(self._database.pipeline, work))

    insert = execute
    """As :meth:`execute`, of a statement that can only insert the job with this ``id``.

    A unit that does nothing else sends its audit entry with it.
    """

    def sole(
        self, name: str, /, *, of: str | None = None, **parameters: Parameter
    ) -> list[Row]:
        """As :meth:`execute`, of a statement that ends with ``/* noted */``.

        A unit that has done nothing else sends its audit entry with it, whose target
        is ``of`` unless the path of the request names one.
        """
        del of
        return self.execute(name, **parameters)

    def at_once(self, name: str, number: int, /, **parameters: Parameter) -> list[Row]:
        """As :meth:`sole`, of a statement that changes ``number`` rows, or none.

        It changes none either if each batch of the caller stores more than its entry.
        """
        return self.sole(name, of=None, number=number, **parameters)

    def expect(self, query: Query) -> None:
        """Announce what :meth:`read_one` reads behind the next change.

        A unit that has done nothing else reads it with a :meth:`sole` change.
        """

    def write_batch(
        self,
        work: Callable[[Transaction], T],
        changed: Callable[[T], int],
        pace: Pace | None = None,
    ) -> T:
        """Run one of several transactions, spaced out by ``pace``.

        ``changed`` returns the number of changes from the result of ``work``.
        """
        del changed
        return self.write(work) if pace is None else pace.write(self.write, work)

    def join(self, connection: object, work: Callable[[Transaction], T]) -> T:
        """See :meth:`.Executor.join`."""
        return self._alone(self._wrote, partial(self._database.join, connection, work))

    def read(self, work: Callable[[Transaction], T], *, apart: Apart = False) -> T:
        """See :meth:`.Executor.read`."""
        return self._alone(self._read, partial(self._database.read, work, apart=apart))

    def read_all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Return the rows of one query, under the server's time limit."""
        return self.read(lambda tx: tx.all(name, **parameters), apart=True)

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """See :meth:`.Executor.read_one`."""
        one = partial(self._database.read_one, name, **parameters)
        return self._alone(self._read, one)

    @property
    def listen(self) -> Callable[[WakeCallback], Listener]:
        """See :meth:`.Executor.listen`."""
        return self._database.listen

    def pinned(self, mint: Mint) -> Mint:
        """Return a source of ids that gives the same ones at each try."""
        return mint

    def _alone(self, record: Callable[[float], None], call: Callable[[], T]) -> T:
        if calls.is_busy:
            raise within_another()
        since = perf_counter()
        try:
            calls.is_busy = True
            return call()
        finally:
            calls.is_busy = False
            record(perf_counter() - since)


def _ignore(_seconds: float) -> None:
    """Record nothing."""
