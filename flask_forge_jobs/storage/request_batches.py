"""Stores the changes of one request in several transactions, an audit entry in each.

So the trail is complete even if a later transaction fails. For a request that is one
transaction see :mod:`.units`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.storage import entries
from flask_forge_jobs.storage.database import Database, Parameter, Row, Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.pace import Pace
from flask_forge_jobs.storage.recorder import Recorder

T = TypeVar("T")


class RequestBatches:
    """A request that makes its changes in several transactions.

    ``record`` makes the audit entry of each from the number of its changes.
    """

    def __init__(
        self, database: Database, record: Callable[[int], AuditRecord]
    ) -> None:
        self.database = database
        self._record = record
        self.has_entry = False
        """Whether a batch has changed something."""

    def executor(self, recorder: Recorder | None = None) -> StoreExecutor:
        """Return the executor of the request's stores."""
        return BatchExecutor(self.database, recorder, self._note, self._note_at_once)

    def _note_at_once(
        self, name: str, parameters: dict[str, Parameter], changed: int
    ) -> list[Row]:
        entry = entries.noted(record := self._record(changed), record.status)
        if self.has_entry:  # an equal one may be of an earlier batch
            entry["is_repeated"] = False
        (rows,) = self.database.pipeline(
            lambda tx: tx.all_noted(name, parameters, entry)
        )
        self.has_entry |= bool(rows)
        return rows

    def _note(self, transaction: Transaction, changed: int) -> None:
        if changed:
            entries.append_batch_entry(transaction, self._record(changed))
            self.has_entry = True


class BatchExecutor(StoreExecutor):
    """Runs the calls of stores, and ``note`` in the transaction of each batch.

    ``note`` gets the number of the batch's changes. ``note_at_once`` runs a statement
    that is a whole batch, with its entry; None if there is more to store than that.
    """

    def __init__(
        self,
        database: Database,
        recorder: Recorder | None,
        note: Callable[[Transaction, int], object],
        note_at_once: Callable[[str, dict[str, Parameter], int], list[Row]]
        | None = None,
    ) -> None:
        super().__init__(database, recorder)
        self._note = note
        self._note_at_once = note_at_once

    def at_once(self, name: str, number: int, /, **parameters: Parameter) -> list[Row]:
        """Run it with its entry."""
        if self._note_at_once is None:
            return []
        values = {"number": number, **parameters}
        note = partial(self._note_at_once, name, values, number)
        return self._alone(self._wrote, note)

    def write_batch(
        self,
        work: Callable[[Transaction], T],
        changed: Callable[[T], int],
        pace: Pace | None = None,
    ) -> T:
        """Run one of several transactions, with its note."""

        def with_note(transaction: Transaction) -> T:
            result = work(transaction)
            self._note(transaction, changed(result))
            return result

        return super().write_batch(with_note, changed, pace)
