"""Copies the rows of one database to another, also of another kind.

Both have the same tables and columns. Each table is read in the order of its primary
key, and a batch is one transaction, so a copy that was interrupted goes on after the
last key that the target has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.sides import TABLES, Row, Side

# Payloads are up to a mebibyte long; most rows are far below a kibibyte.
BATCH_ROWS = 2000
BATCH_CHARACTERS = 4_000_000


def open_side(settings: DatabaseSettings) -> Side:
    """Connect to a database that has our tables.

    Raises:
        StorageError: It does not answer.
    """
    if settings.backend == "sqlite":
        from flask_forge_jobs.storage.sqlite.side import SqliteSide

        if settings.path is None:
            raise StorageError("a database in memory cannot be copied")
        return SqliteSide(settings.path, settings.busy_timeout_s)
    from flask_forge_jobs.storage.postgres.side import PostgresSide

    return PostgresSide(settings)


def filled_tables(side: Side) -> dict[str, int]:
    """Return the number of rows of those tables that are not empty."""
    counts = {table.name: side.count(table) for table in TABLES}
    return {name: count for name, count in counts.items() if count}


def copy_rows(
    source: Side, target: Side, advance: Callable[[int], object] = lambda _: None
) -> None:
    """Copy all rows that the target lacks.

    Args:
        source: Where they are.
        target: Empty, or filled by an interrupted copy of the same source.
        advance: Called with the number of rows of each batch, and with those that the
            target had.

    Raises:
        StorageError: A database does not answer, or the tables differ.
    """
    for table in TABLES:
        if source.columns(table) != target.columns(table):
            raise StorageError(f"{table.name}: the columns of both databases differ")
    for table in TABLES:
        after = target.last_key(table)
        if after is not None:
            advance(target.count(table))
        for batch in _batches(source.rows(table, after)):
            target.write(table, batch)
            advance(len(batch))
    target.finish()


def differences(
    source: Side, target: Side, advance: Callable[[int], object] = lambda _: None
) -> list[str]:
    """Return the tables whose rows differ; ``advance`` is called as rows are read."""
    return [
        table.name
        for table in TABLES
        if _digest(source.rows(table, None), advance)
        != _digest(target.rows(table, None), lambda _: None)
    ]


def _digest(rows: Iterable[Row], advance: Callable[[int], object]) -> tuple[int, bytes]:
    number, digest = 0, hashlib.sha256()
    for batch in _batches(rows):
        number += len(batch)
        for row in batch:
            digest.update(repr(row).encode())
        advance(len(batch))
    return number, digest.digest()


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += sum(len(value) for value in row if isinstance(value, str))
        if len(batch) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
