"""The audit trail: append-only, read newest first.

The database refuses to change a row, and to delete one younger than 90 days. Reads walk
one index, so they cost the same however long the trail is.

A caller without permission can still send requests without end, and the trail never
forgets. So only the first refusal of each caller, route and status is stored at once.
Repeats within a minute are counted in this process and stored as one more entry when
the minute is over or the storage closes. A killed process loses its counts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.audit import AuditEntry, AuditFilter, AuditRecord
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.instants import (
    DAY_US,
    MAX_INSTANT_US,
    from_micros,
    to_micros,
)
from flask_forge_jobs.storage.database import Executor, Parameter, Row, Transaction
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.units import append_entry, write_batch

MIN_KEPT_DAYS = 90
MAX_KEPT_DAYS = 36_500
PRUNED_AT_ONCE = 500
# Above every id and instant; fits both backends.
_NEWEST = 2**63 - 1


class AuditLog:
    """Appends to the audit trail and reads it."""

    def __init__(self, database: Executor) -> None:
        self._database = database

    def append(self, record: AuditRecord) -> None:
        """Add an entry, dated by the database; in a unit, together with its changes."""
        self._database.write(lambda transaction: append_entry(transaction, record))

    def page(
        self,
        wanted: AuditFilter,
        limit: int,
        before: tuple[datetime, int] | None = None,
    ) -> list[AuditEntry]:
        """Return entries, newest first, from before an instant and id if given."""
        parameters: dict[str, Parameter] = {
            "from_at": 0 if wanted.start is None else to_micros(wanted.start),
            "to_at": MAX_INSTANT_US if wanted.end is None else to_micros(wanted.end),
            "before_at": _NEWEST if before is None else to_micros(before[0]),
            "before_id": _NEWEST if before is None else before[1],
            "any_action": wanted.action is None,
            "action": wanted.action or "",
            "limit": limit,
        }
        name = "audit_page"
        if wanted.target is not None:
            name = "audit_page_of_target"
            parameters |= {
                "target": wanted.target,
                "any_actor": wanted.actor is None,
                "actor": wanted.actor or "",
            }
        elif wanted.actor is not None:
            name = "audit_page_of_actor"
            parameters["actor"] = wanted.actor
        rows = self._database.read(lambda tx: tx.all(name, **parameters))
        return [_entry_from_row(row) for row in rows]

    def prune(self, older_than_days: int) -> int:
        """Delete entries older than this many days, at least 90; return how many."""
        check_integer("days", older_than_days, MIN_KEPT_DAYS, MAX_KEPT_DAYS)
        pruned = 0
        while True:
            deleted = write_batch(
                self._database.write,
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


def _entry_from_row(row: Row) -> AuditEntry:
    entry_id, at, *record = row  # in the order of the record's fields
    return AuditEntry(entry_id, from_micros(at), AuditRecord(*record))


logger = get_logger(__name__)

PERIOD_S = 60.0
# Most kinds of refusals to tell apart within a minute; the rest are counted together,
# by status, under this name.
MOST_KINDS = 1000
OTHERS = "_others"
MOST_WAITING = 10 * MOST_KINDS

_Kind = tuple[str, str, int]


@dataclass(slots=True)
class _Counted:
    """Refusals of one kind, after the first."""

    until: float
    last: AuditRecord
    requests: int = 0


class Refusals(PerProcess):
    """Appends an entry for refused requests, or counts them."""

    def __init__(self, database: Executor, recorder: Recorder, clock: Clock) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock
        self.stay_own()

    def _begin(self) -> None:
        # A forked child must not store what its parent has counted.
        self._lock = threading.Lock()
        self._kinds: dict[_Kind, _Counted] = {}
        self._waiting: list[AuditRecord] = []

    @property
    def is_waiting(self) -> bool:
        """Whether counted refusals have no entry yet."""
        self.stay_own()
        with self._lock:
            counted = any(each.requests for each in self._kinds.values())
            return counted or bool(self._waiting)

    def add(self, record: AuditRecord) -> None:
        """Append the entry of a refused request, or count it; keep it on failure."""
        self.stay_own()
        with self._lock:
            self._end_minutes(self._clock.monotonic())
            is_first = self._count(record)
        if not is_first:
            self._recorder.on_activity()
            return
        try:
            self.flush()
        except StorageError:
            self._recorder.on_activity()
            raise

    def flush(self, *, is_last: bool = False) -> None:
        """Append the counts of finished minutes, or all; keep them on failure."""
        self.stay_own()
        with self._lock:
            now = self._clock.monotonic()
            self._end_minutes(now + PERIOD_S if is_last else now)
            taken, self._waiting = self._waiting, []
        if not taken:
            return

        def work(transaction: Transaction) -> None:
            for record in taken:
                append_entry(transaction, record)

        try:
            self._database.write(work)
        except BaseException:
            with self._lock:
                self._keep([*taken, *self._waiting])
            raise

    def _count(self, record: AuditRecord) -> bool:
        """Count a request; return whether it is the first of its kind."""
        kind = _kind_of(record)
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            record = replace(
                record, actor=OTHERS, action=OTHERS, target=None, address="",
                request_id="", arguments="{}",
            )  # fmt: skip
            kind = _kind_of(record)
        counted = self._kinds.get(kind)
        if counted is not None:
            counted.last = record
            counted.requests += 1
            return False
        until = self._clock.monotonic() + PERIOD_S
        self._kinds[kind] = _Counted(until, record)
        self._waiting.append(record)
        return True

    def _end_minutes(self, now: float) -> None:
        """Queue the counts of finished minutes for storing."""
        # Kinds are in the order in which their minutes end.
        while self._kinds:
            kind, counted = next(iter(self._kinds.items()))
            if counted.until > now:
                break
            del self._kinds[kind]
            if counted.requests:
                self._keep(
                    [*self._waiting, replace(counted.last, requests=counted.requests)]
                )

    def _keep(self, records: list[AuditRecord]) -> None:
        excess = len(records) - MOST_WAITING
        if excess > 0:
            logger.error("dropped %s audit entries of refused requests", excess)
        self._waiting = records[max(excess, 0) :]


def _kind_of(record: AuditRecord) -> _Kind:
    return record.actor, record.action, record.status
