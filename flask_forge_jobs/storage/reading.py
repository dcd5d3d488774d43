"""Reads of several stores that travel together.

``storage.within(Reading(storage.database, queries))`` returns stores that read these
queries in one round trip, at the first read of one of them. A store asks for its query
as always; one that is not in the list is read by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

from flask_forge_jobs.storage.database import (
    Apart,
    Database,
    Executor,
    Parameter,
    Query,
    Row,
    Transaction,
)
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.recorder import Recorder

T = TypeVar("T")
_Key = tuple[object, ...]


def read_together(database: Executor, queries: Sequence[Query]) -> list[list[Row]]:
    """Return the rows of several queries from one snapshot, in one round trip."""
    return database.read(lambda tx: _all_of(tx, queries), apart="expected")


def _all_of(transaction: Transaction, queries: Sequence[Query]) -> list[list[Row]]:
    for name, values in queries[1:]:
        transaction.expect(name, **values)
    # The first takes the others along.
    return [transaction.all(name, **values) for name, values in queries]


class Reading:
    """Some queries that are read together, all against the same snapshot."""

    def __init__(self, database: Database, queries: Sequence[Query]) -> None:
        self._database = database
        self._queries = queries
        self._rows: dict[_Key, list[Row]] | None = None

    def executor(self, recorder: Recorder | None = None) -> StoreExecutor:
        """Return the executor of the stores."""
        return _ReadingExecutor(self._database, recorder, self)

    def of(self, query: Query) -> list[Row]:
        """Return the rows of one of the queries."""
        name, values = query
        return self.rows(self.executor(), name, values)

    def rows(
        self, executor: StoreExecutor, name: str, values: Mapping[str, Parameter]
    ) -> list[Row]:
        """Return the rows of a query; ``_MissingError`` if it is not one of these."""
        if self._rows is None:
            self._rows = StoreExecutor.read(executor, self._read, apart="expected")
        rows = self._rows.get(_key(name, values))
        if rows is None:
            raise _MissingError
        return rows

    def _read(self, transaction: Transaction) -> dict[_Key, list[Row]]:
        keys = [_key(name, values) for name, values in self._queries]
        return dict(zip(keys, _all_of(transaction, self._queries), strict=True))


def _key(name: str, values: Mapping[str, Parameter]) -> _Key:
    return (name, *sorted(values.items()))


class _MissingError(Exception):
    """A store asks for a query that is read by itself."""


class _ReadingExecutor(StoreExecutor):
    """Answers the reads of stores from what was read together."""

    def __init__(
        self, database: Database, recorder: Recorder | None, reading: Reading
    ) -> None:
        super().__init__(database, recorder)
        self._reading = reading

    def read(self, work: Callable[[Transaction], T], *, apart: Apart = False) -> T:
        """Run it on the rows that are there, or in a transaction if it needs more."""
        try:
            return work(cast("Transaction", _Rows(self, self._reading)))
        except _MissingError:
            return super().read(work, apart=apart)

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Return the rows that are there, or read them."""
        try:
            return self._reading.rows(self, name, parameters)
        except _MissingError:
            return super().read_one(name, **parameters)


class _Rows:
    """A transaction of nothing but the rows that were read together."""

    attempt = 0

    def __init__(self, executor: StoreExecutor, reading: Reading) -> None:
        self._executor = executor
        self._reading = reading

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Return the rows of a query, which must be one of those."""
        return self._reading.rows(self._executor, name, parameters)

    def expect(self, name: str, /, **parameters: Parameter) -> None:
        """Do nothing; it is there, or read with the others."""
