"""The two sides of a copy, and the tables that are copied.

The tables of a running system (workers, slots, leases) and the counts that triggers
keep are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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


class Side(Protocol):
    """One of the two databases: a connection of its own, errors as StorageError."""

    def columns(self, table: Table) -> Sequence[str]:
        """Return the columns of a table, sorted by name."""

    def count(self, table: Table) -> int:
        """Return the number of rows."""

    def last_key(self, table: Table) -> Row | None:
        """Return the greatest key; None for an empty table."""

    def rows(self, table: Table, after: Row | None) -> Iterator[Row]:
        """Yield the rows behind a key in the order of the keys, texts by code point."""

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Store rows in a transaction."""

    def hold_still(self) -> None:
        """Read from the present snapshot from now on."""

    def finish(self) -> None:
        """Let new ids begin after those that were written."""

    def close(self) -> None:
        """Close the connections."""
