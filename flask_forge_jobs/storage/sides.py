"""The two sides of a copy, and the tables that are copied.

The tables of a running system (workers, slots, leases) and the counts that triggers
keep are left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the columns of its primary key."""

    name: str
    key: tuple[str, ...]


AUDIT = Table("forge_audit", ("id",))
# Jobs come last: what belongs to a job is there before it.
TABLES = (
    Table("forge_queue", ("name",)),
    Table("forge_rate_limit", ("scope",)),
    Table("forge_follow_up", ("of_kind", "ending")),
    Table("forge_cron", ("name",)),
    Table("forge_error", ("signature", "queue_name", "kind")),
    Table(
        "forge_error_bucket",
        ("width_s", "signature", "queue_name", "kind", "bucket_start"),
    ),
    Table("forge_error_change", ("id",)),
    Table("forge_metric", ("level", "queue_name", "kind", "bucket_start", "source")),
    Table("forge_sample", ("level", "bucket_start", "worker_id")),
    Table("forge_gauge", ("level", "queue_name", "bucket_start")),
    AUDIT,
    Table("forge_request_key", ("caller", "request_key")),
    Table("forge_bulk_run", ("id",)),
    Table("forge_batch", ("id",)),
    Table("forge_batch_range", ("batch_id", "first_id")),
    Table("forge_batch_dead", ("batch_id", "job_id")),
    Table("forge_link", ("child_id", "parent_id")),
    Table("forge_hold", ("parent_id", "child_id")),
    Table("forge_attempt", ("job_id", "run")),
    Table("forge_log", ("job_id", "run", "first_line")),
    Table("forge_step", ("job_id", "name")),
    Table("forge_job", ("id",)),
)


class Side(ABC):
    """One of the two databases: connections of its own, errors as StorageError."""

    def columns(self, table: Table) -> Sequence[str]:
        """Return the columns of a table, sorted by name."""
        return sorted(self._types(table))

    def count(self, table: Table) -> int:
        """Return the number of rows."""
        ((number,),) = self._read(f"SELECT COUNT(*) FROM {table.name}")  # noqa: S608  # our own
        return int(number)

    def last_key(self, table: Table) -> Row | None:
        """Return the greatest key; None for an empty table."""
        order = ", ".join(f"{column} DESC" for column in self._key(table))
        rows = self._read(
            f"SELECT {', '.join(table.key)} FROM {table.name} ORDER BY {order} LIMIT 1"  # noqa: S608  # our own
        )
        return rows[0] if rows else None

    def _rows_behind(self, table: Table, after: Row | None, mark: str) -> str:
        """Return the statement that reads the rows behind a key."""
        key = ", ".join(self._key(table))
        marks = ", ".join(mark for _ in table.key)
        where = "" if after is None else f"WHERE ({key}) > ({marks})"
        columns = ", ".join(self.columns(table))
        return f"SELECT {columns} FROM {table.name} {where} ORDER BY {key}"  # noqa: S608  # our own

    def _key(self, table: Table) -> Sequence[str]:
        """Return the columns of a key, texts in the order of their code points."""
        return table.key

    @abstractmethod
    def _read(self, statement: str, *values: object) -> list[Row]: ...

    @abstractmethod
    def _types(self, table: Table) -> dict[str, str]:
        """Return the types of the columns by their names."""

    @abstractmethod
    def rows(self, table: Table, after: Row | None) -> Iterator[Row]:
        """Yield the rows behind a key in the order of the keys, texts by code point."""

    @abstractmethod
    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Store rows in a transaction."""

    @abstractmethod
    def hold_still(self) -> None:
        """Read from the present snapshot from now on."""

    @abstractmethod
    def finish(self) -> None:
        """Let new ids begin after those that were written."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""
