"""A Database whose writes go into the present unit, if its caller runs one.

It notes how long reads and writes take as well, with the wait for them: a wrapper for
each would cost every call of the storage twice.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from flask_forge_jobs.storage.database import (
    Database,
    Listener,
    Parameter,
    Row,
    SchemaVersions,
    Transaction,
    WakeCallback,
)
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.units import present

T = TypeVar("T")


class UnitDatabase:
    """Passes everything on, or runs it in a unit; fulfils :class:`.Database`.

    Args:
        database: Does the work; shared by all who may meet in a unit.
        recorder: Notes the times; None notes none.
    """

    def __init__(self, database: Database, recorder: Recorder | None = None) -> None:
        self._database = database
        self._wrote = _ignore if recorder is None else recorder.wrote
        self._read = _ignore if recorder is None else recorder.read
        self.backend = database.backend
        self.known_version = database.known_version

    def open(self) -> None:
        """Pass on."""
        self._database.open()

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

    def single(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run it in the present unit, or pass on."""
        since = perf_counter()
        try:
            unit = present.unit
            if unit is None:
                return self._database.single(name, **parameters)
            return unit.at_once(self._database, lambda tx: tx.all(name, **parameters))
        finally:
            self._wrote(perf_counter() - since)

    def at_once(self, work: Callable[[Transaction], T]) -> T:
        """Run it in the present unit, or pass on."""
        since = perf_counter()
        try:
            unit = present.unit
            if unit is None:
                return self._database.at_once(work)
            return unit.at_once(self._database, work)
        finally:
            self._wrote(perf_counter() - since)

    def begin(self, attempt: int) -> AbstractContextManager[Transaction]:
        """Pass on."""
        return self._database.begin(attempt)

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

    def look(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run it in the present unit if that has begun, or pass on."""
        since = perf_counter()
        try:
            unit = present.unit
            if unit is None or not unit.has_begun(self._database):
                return self._database.look(name, **parameters)
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

    def schema_versions(self) -> SchemaVersions | None:
        """Pass on."""
        return self._database.schema_versions()

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Pass on."""
        return self._database.describe()

    @property
    def directory(self) -> Path | None:
        """Pass on."""
        return self._database.directory

    def log_bytes(self) -> int:
        """Pass on."""
        return self._database.log_bytes()

    def close(self) -> None:
        """Pass on."""
        self._database.close()


def _ignore(_seconds: float) -> None:
    """Note nothing."""
