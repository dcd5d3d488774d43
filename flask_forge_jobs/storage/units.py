"""Stores the changes of one request and its audit entry in one transaction.

By default every store writes in a transaction of its own. While a :class:`Unit` runs in
a thread, all stores of that thread write in the unit's transaction instead. It begins
with the first write, so a slow client or an invalid request locks nothing. From then on
reads run in it too. A request that needs several transactions leaves an audit entry in
each; see :class:`Batches`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import ParamSpec, TypeVar

from flask_forge_jobs.errors import StorageError, StorageOutcomeUnknownError
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.reentry import calls, within_another
from flask_forge_jobs.storage.database import (
    Database,
    Listener,
    Parameter,
    Row,
    Transaction,
    WakeCallback,
    run_with_retries,
)
from flask_forge_jobs.storage.recorder import Recorder

P = ParamSpec("P")
T = TypeVar("T")


class _Present(threading.local):
    """What a thread is working on."""

    unit: Unit | None = None
    batches: Batches | None = None


present = _Present()
"""What this thread is working on; a variable, because every storage call reads it."""


class _UndoneError(Exception):
    """Rolls back the transaction of a unit."""


class Unit:
    """A request that makes its changes in one transaction.

    Args:
        expected: Returns the audit entry of a request that only adds the job with the
            given id. It is sent with the job.
        wait: Sleeps before a retry, in seconds.
    """

    def __init__(
        self,
        expected: Callable[[str], AuditRecord],
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._expected = expected
        self._wait = wait
        self.is_noted = False
        """Whether the expected entry is stored and the unit over."""
        self._ids: list[str] = []
        self._begin_anew(0)

    def _begin_anew(self, attempt: int) -> None:
        self._attempt = attempt
        self._database: Database | None = None
        self._transaction: Transaction | None = None
        self._fault: BaseException | None = None
        self._ids_used = 0
        self._added_id: str | None = None
        self._when_stored: list[Callable[[], object]] = []

    def run(self, work: Callable[[], T]) -> T:
        """Call ``work`` and commit all its changes; repeat it after a transient fault.

        Raises:
            StorageOutcomeUnknownError: The changes may be stored; the error has the ids
                of the added jobs.
            StorageError: Nothing was stored.
        """
        before, present.unit = present.unit, self
        try:
            result = run_with_retries(
                lambda attempt: self._try(attempt, work), self._wait
            )
        except StorageOutcomeUnknownError as error:
            if error.job_ids or not self._ids:
                raise
            raise StorageOutcomeUnknownError(self._ids) from error.__cause__
        finally:
            present.unit = before
        for call in self._when_stored:
            call()
        return result

    def _try(self, attempt: int, work: Callable[[], T]) -> T:
        self._begin_anew(attempt)
        failure: Exception | None = None
        with contextlib.suppress(_UndoneError), contextlib.ExitStack() as self._stack:
            self._stack.callback(setattr, calls, "is_busy", False)
            try:
                result = work()
            except Exception as error:
                calls.is_busy = True
                if error is self._fault:
                    raise
                # Not the database's error, so do not let it translate it.
                failure = error
                raise _UndoneError from None
            if self._fault is not None:
                raise StorageError("a change failed, so nothing is stored")
            calls.is_busy = True  # the end of the transaction is a call, too
            return result
        assert failure is not None  # noqa: S101  # for the type checker
        raise failure

    # -- for the seam ----------------------------------------------------------------

    def has_begun(self, database: Database) -> bool:
        """Whether the unit has a transaction open on a database."""
        return self._transaction is not None and self._database is database

    def within(self, database: Database, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work in the transaction, beginning it if needed."""
        if self._transaction is not None and self._database is not database:
            return database.write(work)
        try:
            if self._transaction is None:
                begun = database.begin(self._attempt)
                self._transaction = self._stack.enter_context(begun)
                self._database = database
            return work(self._transaction)
        except BaseException as error:
            self._fault = error
            raise

    def pipeline(self, database: Database, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work, with the expected entry if it is the whole request."""
        added_id, self._added_id = self._added_id, None
        if added_id is None or self._transaction is not None:
            return self.within(database, work)
        record = self._expected(added_id)

        def with_entry(transaction: Transaction) -> T:
            append_entry(transaction, record)
            return work(transaction)

        result = database.pipeline(with_entry)
        self.is_noted = True
        present.unit = None
        return result

    def add(self, job_id: str) -> None:
        """Announce that the next transaction of this thread surely adds this job.

        If it is the first change, :meth:`pipeline` sends the audit entry with it.
        """
        self._added_id = job_id

    def pin(self, count: int, mint: Callable[[int], list[str]]) -> list[str]:
        """Return ids: the same ones in the same order at each try."""
        start, self._ids_used = self._ids_used, self._ids_used + count
        missing = self._ids_used - len(self._ids)
        if missing > 0:
            self._ids += mint(missing)
        return self._ids[start : self._ids_used]

    def when_stored(self, call: Callable[[], object]) -> None:
        """Call something after the commit."""
        self._when_stored.append(call)


class Batches:
    """A request that makes its changes in several transactions.

    Each stores an audit entry, made by ``record`` from the number of its changes, so
    the trail is complete even if a later transaction fails.
    """

    def __init__(self, record: Callable[[int], AuditRecord]) -> None:
        self._record = record
        self.entries = 0
        """How many entries are stored."""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let this thread's batches store entries for a block."""
        before, present.batches = present.batches, self
        try:
            yield
        finally:
            present.batches = before

    def write(
        self,
        write: Callable[[Callable[[Transaction], T]], T],
        work: Callable[[Transaction], T],
        changed: Callable[[T], int],
    ) -> T:
        """Run one batch and store its entry; see :func:`write_batch`."""

        def with_entry(transaction: Transaction) -> T:
            result = work(transaction)
            changes = changed(result)
            if changes:
                # append_audit_once would skip a second, equal batch. A retry of a batch
                # that was stored changes nothing, so it stores no second entry.
                transaction.defer("append_audit", **_parameters(self._record(changes)))
            return result

        result = write(with_entry)
        self.entries += changed(result) > 0
        return result


def write_batch(
    write: Callable[[Callable[[Transaction], T]], T],
    work: Callable[[Transaction], T],
    changed: Callable[[T], int],
) -> T:
    """Run one of several transactions, by calling ``write`` with ``work``.

    ``changed`` returns the number of changes from the result of ``work``.
    """
    batches = present.batches
    if batches is None:
        return write(work)
    return batches.write(write, work, changed)


def pinned(count: int, mint: Callable[[int], list[str]]) -> list[str]:
    """Return new ids: the same ones if the present unit is repeated."""
    unit = present.unit
    return mint(count) if unit is None else unit.pin(count, mint)


def when_stored(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call something after the unit's commit; at once outside a unit."""
    unit = present.unit
    if unit is None:
        call(*args, **kwargs)
    else:
        unit.when_stored(partial(call, *args, **kwargs))


def append_entry(transaction: Transaction, record: AuditRecord) -> None:
    """Append an audit entry; a retry checks whether its first try has stored it."""
    name = "append_audit_once" if transaction.attempt else "append_audit"
    transaction.defer(name, **_parameters(record))


def _parameters(record: AuditRecord) -> dict[str, Parameter]:
    return {
        "actor": record.actor,
        "action": record.action,
        "target": record.target,
        "address": record.address,
        "request_id": record.request_id,
        "http_status": record.status,
        "changed": record.changed,
        "arguments": record.arguments,
        "requests": record.requests,
    }


class UnitExecutor:
    """Runs everything in the unit of the calling thread, or passes it to the database.

    It also records how long reads and writes take, waits included: a second wrapper
    would slow down every call.
    """

    def __init__(self, database: Database, recorder: Recorder | None = None) -> None:
        self._database = database
        self._wrote = _ignore if recorder is None else recorder.writes.add
        self._read = _ignore if recorder is None else recorder.reads.add
        self.backend = database.backend

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        """Run it in the present unit, or pass on."""
        if calls.is_busy:
            raise within_another()
        since = perf_counter()
        try:
            calls.is_busy = True
            unit = present.unit
            if unit is None:
                return self._database.write(work, urgent=urgent)
            return unit.within(self._database, work)
        finally:
            calls.is_busy = False
            self._wrote(perf_counter() - since)

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run it in the present unit, or pass on."""
        if calls.is_busy:
            raise within_another()
        since = perf_counter()
        try:
            calls.is_busy = True
            unit = present.unit
            if unit is None:
                return self._database.execute(name, **parameters)
            return unit.pipeline(self._database, lambda tx: tx.all(name, **parameters))
        finally:
            calls.is_busy = False
            self._wrote(perf_counter() - since)

    def join(self, connection: object, work: Callable[[Transaction], T]) -> T:
        """Pass on: the caller owns the transaction."""
        if calls.is_busy:
            raise within_another()
        since = perf_counter()
        try:
            calls.is_busy = True
            return self._database.join(connection, work)
        finally:
            calls.is_busy = False
            self._wrote(perf_counter() - since)

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run it in the present unit if it has begun, or pass on."""
        if calls.is_busy:
            raise within_another()
        since = perf_counter()
        try:
            calls.is_busy = True
            unit = present.unit
            if unit is None or not unit.has_begun(self._database):
                return self._database.read(work)
            return unit.within(self._database, work)
        finally:
            calls.is_busy = False
            self._read(perf_counter() - since)

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run it in the present unit if it has begun, or pass on."""
        if calls.is_busy:
            raise within_another()
        since = perf_counter()
        try:
            calls.is_busy = True
            unit = present.unit
            if unit is None or not unit.has_begun(self._database):
                return self._database.read_one(name, **parameters)
            return unit.within(self._database, lambda tx: tx.all(name, **parameters))
        finally:
            calls.is_busy = False
            self._read(perf_counter() - since)

    def wake(self, queue_name: str) -> None:
        """Pass on after the commit of the present unit."""
        unit = present.unit
        if unit is None:
            self._database.wake(queue_name)
        else:
            unit.when_stored(partial(self._database.wake, queue_name))

    def listen(self, callback: WakeCallback) -> Listener:
        """Pass on."""
        return self._database.listen(callback)


def _ignore(_seconds: float) -> None:
    """Record nothing."""
