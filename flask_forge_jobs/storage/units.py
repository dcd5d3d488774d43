"""Stores the changes of one request and its audit entry in one transaction.

A store makes its calls on a :class:`.StoreExecutor`, which gives each write a
transaction of its own. The stores of ``storage.within(unit)`` write in the unit's
transaction instead. It begins with the first write, so a slow client or an invalid
request locks nothing. From then on reads run in it too. A request that needs several
transactions leaves an audit entry in each; see :mod:`.request_batches`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.reentry import calls, within_another
from flask_forge_jobs.storage import entries
from flask_forge_jobs.storage.database import (
    Apart,
    Database,
    Parameter,
    Query,
    Row,
    Transaction,
    run_with_retries,
)
from flask_forge_jobs.storage.executor import Mint, StoreExecutor
from flask_forge_jobs.storage.pace import Pace
from flask_forge_jobs.storage.recorder import Recorder

P = ParamSpec("P")
T = TypeVar("T")


class _UndoneError(Exception):
    """Rolls back the transaction of a unit."""


class Unit:
    """A request that makes its changes in one transaction.

    Args:
        database: Where it makes them.
        expected: Returns the audit entry of a request that only adds the job with the
            given id, or makes one change in one statement. It is sent with that.
        wait: Sleeps before a retry, in seconds.
    """

    def __init__(
        self,
        database: Database,
        expected: Callable[[str | None], AuditRecord],
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.database = database
        self._expected = expected
        self._wait = wait
        self.is_noted = False
        """Whether the expected entry is stored and the unit over."""
        self._ids: list[str] = []
        # Whether an answer was lost, and the repetition has changed nothing.
        self._may_be_stored = False
        # The result and the entry of a try whose commit has lost its answer.
        self._ended: tuple[Any, AuditRecord] | None = None
        self._transaction: Transaction | None = None
        self._began_at = time.monotonic()

    def _begin_anew(self, attempt: int) -> None:
        self._attempt = attempt
        self._transaction = None
        self._fault: BaseException | None = None
        self._ids_used = 0
        self._expecting: list[Query] = []
        self._ahead: list[tuple[Query, list[Row]]] = []
        self._record: AuditRecord | None = None
        self._when_stored: list[Callable[[], object]] = []

    def run(self, work: Callable[[], T]) -> T:
        """Call ``work`` and commit all its changes; repeat it after a transient fault.

        The result of a try whose answer was lost stands if its entry is stored.

        Raises:
            StorageOutcomeUnknownError: The changes may be stored; the error has the ids
                of the added jobs.
            StorageError: Nothing was stored.
        """
        try:
            result = run_with_retries(partial(self._try, work), self._wait)
        except StorageOutcomeUnknownError as error:
            if error.job_ids or not self._ids:
                raise
            raise StorageOutcomeUnknownError(self._ids) from error.__cause__
        except (StorageUnavailableError, StorageBusyError) as error:
            if not self._may_be_stored:
                raise
            raise StorageOutcomeUnknownError(self._ids) from error
        for call in self._when_stored:
            call()
        return result

    def _try(self, work: Callable[[], T], attempt: int) -> T:
        result: T
        if self._ended is not None:
            result, record = self._ended
            if entries.is_stored(self.database, record, self._began_at):
                return result
        self._begin_anew(attempt)
        failure: Exception = _UndoneError()
        with contextlib.suppress(_UndoneError), contextlib.ExitStack() as self._stack:
            self._stack.push(self._note_end)
            try:
                result = work()
            except Exception as error:
                if error is self._fault:
                    raise
                # Not the database's error, so do not let it translate it.
                failure = error
                raise _UndoneError from None
            if self._fault is not None:
                raise StorageError("rolled back: a write failed")
            if self._record is not None:
                self._ended = result, self._record
            return result
        raise failure

    def _note_end(self, _kind: object, fault: BaseException | None, _: object) -> None:
        if not isinstance(getattr(fault, "surfaced", None), StorageOutcomeUnknownError):
            self._ended = None

    # -- for the stores --------------------------------------------------------------

    def executor(self, recorder: Recorder | None = None) -> StoreExecutor:
        """Return the executor of the unit's stores."""
        return _UnitExecutor(self, recorder)

    @property
    def has_begun(self) -> bool:
        """Whether the unit has its transaction open."""
        return self._transaction is not None

    def within(self, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work in the transaction, beginning it if needed."""
        try:
            if self._transaction is None:
                self._transaction = self._begun()
            return work(self._transaction)
        except BaseException as error:
            self._fault = error
            raise

    def _begun(self) -> Transaction:
        if calls.is_busy:
            raise within_another()
        # Until the end of the transaction: a signal handler, which may come between two
        # calls of the unit too, would wait for its locks.
        self._stack.callback(setattr, calls, "is_busy", False)
        calls.is_busy = True
        return self._stack.enter_context(self.database.begin(self._attempt))

    def change_with_entry(
        self, name: str, parameters: dict[str, Parameter], target: str | None
    ) -> list[Row]:
        """Run the statement that is the whole request, unless it returns no rows."""
        entry = entries.noted(self._expected(target), entries.ACCEPTED)
        queries = self._expecting

        def change(tx: Transaction) -> list[list[Row]]:
            # If its answer is lost, what follows may meet its row and its entry.
            self._attempt = tx.attempt = max(self._attempt, tx.attempt)
            return tx.all_noted(name, parameters, entry, *queries)

        rows, *ahead = self.database.pipeline(change)
        self._may_be_stored |= self._attempt > 0 and not rows
        self.is_noted = bool(rows)
        self._ahead = list(zip(queries, ahead, strict=True)) if rows else []
        return rows

    def expect(self, query: Query) -> None:
        """Read a query with the change if that is one statement."""
        if self.database.backend == "postgres":  # else there is no round trip to save
            self._expecting.append(query)

    def take_ahead(self, query: Query) -> list[Row] | None:
        """Return the rows of a query that have come with the change, once."""
        ahead = self._ahead
        self.forget_ahead()
        return next((rows for each, rows in ahead if each == query), None)

    def forget_ahead(self) -> None:
        """Forget the rows that have come with the change, before another one."""
        self._ahead = []

    def append(self, record: AuditRecord) -> None:
        """Add the request's audit entry to its changes."""
        self._record = record
        self.within(lambda transaction: entries.append_entry(transaction, record))

    def pin(self, mint: Mint, count: int) -> list[str]:
        """Return ids: the same ones in the same order at each try."""
        start, self._ids_used = self._ids_used, self._ids_used + count
        missing = self._ids_used - len(self._ids)
        if missing > 0:
            self._ids += mint(missing)
        return self._ids[start : self._ids_used]

    def when_stored(
        self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Call something after the commit."""
        if self.is_noted:
            call(*args, **kwargs)
        else:
            self._when_stored.append(partial(call, *args, **kwargs))


class _UnitExecutor(StoreExecutor):
    """Runs the calls of stores in the transaction of a unit."""

    def __init__(self, unit: Unit, recorder: Recorder | None) -> None:
        super().__init__(unit.database, recorder)
        self._unit = unit
        # Not methods of its own, with which it would wait for the garbage collector.
        self.when_stored = unit.when_stored
        wake = self.wake
        self.wake = lambda queue_name: unit.when_stored(wake, queue_name)
        self.wake_added = self.wake

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        """Run it in the transaction."""
        if self._unit.is_noted:
            self._unit.forget_ahead()
            return super().write(work, urgent=urgent)
        return self._within(self._wrote, work)

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run it in the transaction."""
        if self._unit.is_noted:
            self._unit.forget_ahead()
            return super().execute(name, **parameters)
        return self._within(self._wrote, lambda tx: tx.all(name, **parameters))

    def pipeline(self, work: Callable[[Transaction], T]) -> T:
        """Run it in the transaction."""
        return self.write(work)

    def insert(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run it in the transaction, or alone with the expected entry."""
        return self.sole(name, of=str(parameters["id"]), **parameters)

    def sole(
        self, name: str, /, *, of: str | None = None, **parameters: Parameter
    ) -> list[Row]:
        """Run it in the transaction, or alone with the expected entry."""
        unit = self._unit
        if unit.is_noted or unit.has_begun:
            return self.execute(name, **parameters)
        return self._alone(
            self._wrote, partial(unit.change_with_entry, name, parameters, of)
        )

    def expect(self, query: Query) -> None:
        """Read it with the change if that is one statement."""
        self._unit.expect(query)

    def write_batch(
        self,
        work: Callable[[Transaction], T],
        changed: Callable[[T], int],
        pace: Pace | None = None,
    ) -> T:
        """Run it in the transaction at once."""
        del changed, pace
        return self.write(work)

    def read(self, work: Callable[[Transaction], T], *, apart: Apart = False) -> T:
        """Run it in the transaction if that has begun."""
        if not self._unit.has_begun:
            return super().read(work, apart=apart)
        return self._within(self._read, work)

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run it in the transaction if that has begun."""
        if (rows := self._unit.take_ahead((name, parameters))) is not None:
            return rows
        if not self._unit.has_begun:
            return super().read_one(name, **parameters)
        return self._within(self._read, lambda tx: tx.all(name, **parameters))

    def pinned(self, mint: Mint) -> Mint:
        """Return a source of ids that gives the same ones at each try."""
        return partial(self._unit.pin, mint)

    def _within(
        self, record: Callable[[float], None], work: Callable[[Transaction], T]
    ) -> T:
        since = time.perf_counter()
        try:
            return self._unit.within(work)
        finally:
            record(time.perf_counter() - since)
