"""The audit trail: append-only, read newest first.

The database refuses to change a row, and to delete one younger than 90 days. Reads walk
one index, so they cost the same however long the trail is.
"""

from __future__ import annotations

from datetime import datetime

from flask_forge_jobs.model.audit import AuditEntry, AuditFilter, AuditRecord
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.instants import (
    DAY_US,
    MAX_INSTANT_US,
    from_micros,
    to_micros,
)
from flask_forge_jobs.storage.database import Parameter
from flask_forge_jobs.storage.entries import append_entry
from flask_forge_jobs.storage.executor import StoreExecutor

MIN_KEPT_DAYS = 90
MAX_KEPT_DAYS = 36_500
PRUNED_AT_ONCE = 500
# Above every id and instant; fits both backends.
_NEWEST = 2**63 - 1


class AuditLog:
    """Appends to the audit trail and reads it."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def append(self, record: AuditRecord) -> None:
        """Add an entry, dated by the database; in a unit, together with its changes."""
        self._database.write(lambda transaction: append_entry(transaction, record))

    def page(
        self,
        audit_filter: AuditFilter,
        limit: int,
        before: tuple[datetime, int] | None = None,
    ) -> list[AuditEntry]:
        """Return entries, newest first, from before an instant and id if given."""
        parameters: dict[str, Parameter] = {
            "from_at": 0
            if audit_filter.start is None
            else to_micros(audit_filter.start),
            "to_at": MAX_INSTANT_US
            if audit_filter.end is None
            else to_micros(audit_filter.end),
            "before_at": _NEWEST if before is None else to_micros(before[0]),
            "before_id": _NEWEST if before is None else before[1],
            "any_action": audit_filter.action is None,
            "action": audit_filter.action or "",
            "limit": limit,
        }
        name = "audit_page"
        if audit_filter.target is not None:
            name = "audit_page_of_target"
            parameters |= {
                "target": audit_filter.target,
                "any_actor": audit_filter.actor is None,
                "actor": audit_filter.actor or "",
            }
        elif audit_filter.actor is not None:
            name = "audit_page_of_actor"
            parameters["actor"] = audit_filter.actor
        rows = self._database.read_all(name, **parameters)
        # The columns behind the first two are in the order of the record's fields.
        return [
            AuditEntry(entry_id, from_micros(at), AuditRecord(*record))
            for entry_id, at, *record in rows
        ]

    def prune(self, older_than_days: int) -> int:
        """Delete entries older than this many days, at least 90; return how many."""
        check_integer("days", older_than_days, MIN_KEPT_DAYS, MAX_KEPT_DAYS)
        pruned = 0
        while True:
            deleted = self._database.write_batch(
                lambda tx: tx.run(
                    "delete_old_audit",
                    age_us=older_than_days * DAY_US,
                    limit=PRUNED_AT_ONCE,
                ),
                int,
            )
            pruned += deleted
            if deleted < PRUNED_AT_ONCE:
                return pruned
