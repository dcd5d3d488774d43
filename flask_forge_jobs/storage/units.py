"""What one request changes, and its entry in the audit trail, as one transaction.

Every store writes by a transaction of its own. While a :class:`Unit` runs in a thread,
what the stores of that thread write goes into the unit's transaction instead, which
begins with the first write and commits after the last. Reads go into it once it has
begun. So a slow client, or a request that turns out to be wrong, locks nothing.

What is done in several transactions leaves an entry in each of them; see
:class:`Batches`.
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
from flask_forge_jobs.storage.database import (
    Database,
    Listener,
    Parameter,
    Row,
    Transaction,
    WakeCallback,
)
from flask_forge_jobs.storage.faults import run_with_retries
from flask_forge_jobs.storage.recorder import Recorder

P = ParamSpec("P")
T = TypeVar("T")


class _Present(threading.local):
    """What a thread is at."""

    unit: Unit | None = None
    batches: Batches | None = None


present = _Present()
"""What this thread is at; an attribute, because every call of the storage looks."""


class _UndoneError(Exception):
    """Takes the transaction of a unit back."""


class Unit:
    """One request that changes something in one transaction.

    Args:
        expected: Returns the entry of a request that does nothing but add the job with
            a given id: it is known before the job is stored and travels with it.
        wait: Waits for some seconds before a further try.
    """

    def __init__(
        self,
        expected: Callable[[str], AuditRecord],
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._expected = expected
        self._wait = wait
        self.is_noted = False
        """Whether the entry that was expected is stored, and the unit over."""
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
        """Do something; all that it changes is stored together, or nothing of it.

        Args:
            work: Called again from the start after a transient fault.

        Raises:
            StorageOutcomeUnknownError: All may be stored; the error has the ids of the
                jobs that were added.
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
            try:
                result = work()
            except Exception as error:
                if error is self._fault:
                    raise
                # Not the database's, so it must not be taken for a fault of it.
                failure = error
                raise _UndoneError from None
            if self._fault is not None:
                raise StorageError("a change failed, so nothing of it is stored")
            return result
        assert failure is not None  # noqa: S101  # for the type checker
        raise failure

    # -- for the seam ----------------------------------------------------------------

    def has_begun(self, database: Database) -> bool:
        """Whether a transaction is open on a database."""
        return self._transaction is not None and self._database is database

    def within(self, database: Database, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work in the transaction, which begins now if it has not."""
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
        """Run a unit of work that may be all there is to do; see :meth:`add`."""
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
        """Take in that the next transaction of this thread adds this job, for sure.

        Where nothing was changed before, and the next call is :meth:`.Database.execute`
        or :meth:`.Database.pipeline`, the entry travels with it.
        """
        self._added_id = job_id

    def pin(self, count: int, mint: Callable[[int], list[str]]) -> list[str]:
        """Return ids, at each try the same ones in the same order."""
        start, self._ids_used = self._ids_used, self._ids_used + count
        missing = self._ids_used - len(self._ids)
        if missing > 0:
            self._ids += mint(missing)
        return self._ids[start : self._ids_used]

    def when_stored(self, call: Callable[[], object]) -> None:
        """Call something once the transaction has committed."""
        self._when_stored.append(call)


class Batches:
    """One request that changes something in several transactions.

    Each of them that changes something leaves an entry, with the number of its changes,
    so what was done before a failure is in the trail.

    Args:
        record: Returns the entry of so many changes.
    """

    def __init__(self, record: Callable[[int], AuditRecord]) -> None:
        self._record = record
        self.entries = 0
        """How many are stored."""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let batches of this thread leave entries for a block."""
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
        """Run one batch, and leave its entry; see :func:`write_batch`."""

        def with_entry(transaction: Transaction) -> T:
            result = work(transaction)
            changes = changed(result)
            if changes:
                # Not the one statement for all tries: two batches may look the same. A
                # batch that was stored already finds nothing more to change.
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
    """Run one of the transactions of a verb that may take several.

    Args:
        write: Runs a unit of work as a transaction.
        work: Changes something.
        changed: Returns how many changes an answer of ``work`` means.
    """
    batches = present.batches
    if batches is None:
        return write(work)
    return batches.write(write, work, changed)


def pinned(count: int, mint: Callable[[int], list[str]]) -> list[str]:
    """Return new ids, the same ones when the present unit is repeated."""
    unit = present.unit
    return mint(count) if unit is None else unit.pin(count, mint)


def when_stored(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call something once what the caller has written is committed.

    At once outside a unit; never when the unit stores nothing.
    """
    unit = present.unit
    if unit is None:
        call(*args, **kwargs)
    else:
        unit.when_stored(partial(call, *args, **kwargs))


def append_entry(transaction: Transaction, record: AuditRecord) -> None:
    """Append an entry to the audit trail in an open transaction.

    A repeated transaction may meet its own entry, after an unclear commit.
    """
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
    """Runs everything in the unit of the calling thread, or passes it on.

    It notes how long reads and writes take as well, with the wait for them: a wrapper
    for each would cost every call of the storage twice.

    Args:
        database: Does the work; shared by all who may meet in a unit.
        recorder: Notes the times; None notes none.
    """

    def __init__(self, database: Database, recorder: Recorder | None = None) -> None:
        self._database = database
        self._wrote = _ignore if recorder is None else recorder.writes.add
        self._read = _ignore if recorder is None else recorder.reads.add
        self.backend = database.backend

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        """Run it in the present unit, or pass on."""
        since = perf_counter()
        try:
            unit = present.unit
            if unit is None:
                return self._database.write(work, urgent=urgent)
            return unit.within(self._database, work)
        finally:
            self._wrote(perf_counter() - since)

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run it in the present unit, or pass on."""
        since = perf_counter()
        try:
            unit = present.unit
            if unit is None:
                return self._database.execute(name, **parameters)
            return unit.pipeline(self._database, lambda tx: tx.all(name, **parameters))
        finally:
            self._wrote(perf_counter() - since)

    def join(self, connection: object, work: Callable[[Transaction], T]) -> T:
        """Pass on: the transaction is another's."""
        since = perf_counter()
        try:
            return self._database.join(connection, work)
        finally:
            self._wrote(perf_counter() - since)

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run it in the present unit if that has begun, or pass on."""
        since = perf_counter()
        try:
            unit = present.unit
            if unit is None or not unit.has_begun(self._database):
                return self._database.read(work)
            return unit.within(self._database, work)
        finally:
            self._read(perf_counter() - since)

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run it in the present unit if that has begun, or pass on."""
        since = perf_counter()
        try:
            unit = present.unit
            if unit is None or not unit.has_begun(self._database):
                return self._database.read_one(name, **parameters)
            return unit.within(self._database, lambda tx: tx.all(name, **parameters))
        finally:
            self._read(perf_counter() - since)

    def wake(self, queue_name: str) -> None:
        """Pass on, once the present unit is stored."""
        unit = present.unit
        if unit is None:
            self._database.wake(queue_name)
        else:
            unit.when_stored(partial(self._database.wake, queue_name))

    def listen(self, callback: WakeCallback) -> Listener:
        """Pass on."""
        return self._database.listen(callback)


def _ignore(_seconds: float) -> None:
    """Note nothing."""
