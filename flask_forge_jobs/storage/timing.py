"""A Database that notes how long its reads and writes take, with the wait for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
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

T = TypeVar("T")


class TimedDatabase:
    """Passes everything on and notes how long it took; fulfils :class:`.Database`.

    Args:
        database: Does the work.
        recorder: Notes the times.
    """

    def __init__(self, database: Database, recorder: Recorder) -> None:
        self._database = database
        self._recorder = recorder
        self.backend = database.backend
        self.known_version = database.known_version

    def open(self) -> None:
        """Pass on."""
        self._database.open()

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        """Pass on, and note the time."""
        since = perf_counter()
        try:
            return self._database.write(work, urgent=urgent)
        finally:
            self._recorder.wrote(perf_counter() - since)

    def single(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Pass on, and note the time."""
        since = perf_counter()
        try:
            return self._database.single(name, **parameters)
        finally:
            self._recorder.wrote(perf_counter() - since)

    def at_once(self, work: Callable[[Transaction], T]) -> T:
        """Pass on, and note the time."""
        since = perf_counter()
        try:
            return self._database.at_once(work)
        finally:
            self._recorder.wrote(perf_counter() - since)

    def begin(self, attempt: int) -> AbstractContextManager[Transaction]:
        """Pass on."""
        return self._database.begin(attempt)

    def join(self, connection: object, work: Callable[[Transaction], T]) -> T:
        """Pass on, and note the time."""
        since = perf_counter()
        try:
            return self._database.join(connection, work)
        finally:
            self._recorder.wrote(perf_counter() - since)

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Pass on, and note the time."""
        since = perf_counter()
        try:
            return self._database.read(work)
        finally:
            self._recorder.read(perf_counter() - since)

    def look(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Pass on, and note the time."""
        since = perf_counter()
        try:
            return self._database.look(name, **parameters)
        finally:
            self._recorder.read(perf_counter() - since)

    def wake(self, queue_name: str) -> None:
        """Pass on."""
        self._database.wake(queue_name)

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
