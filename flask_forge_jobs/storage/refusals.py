"""Entries of the audit trail for refused requests, and the count of their repeats.

A caller without permission can still send requests without end, and the trail never
forgets. So only the first refusal of each caller, route and status is stored at once.
Repeats within a minute are counted in this process and stored as one more entry when
the minute is over or the storage closes. A killed process loses its counts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.storage.database import Executor, Transaction
from flask_forge_jobs.storage.entries import append_entry
from flask_forge_jobs.storage.recorder import Recorder

logger = get_logger(__name__)

PERIOD_S = 60.0
# Most kinds of refusals to tell apart within a minute; the rest are counted together,
# by status, under this name.
MAX_KINDS = 1000
OTHERS = "_others"
MAX_WAITING = 10 * MAX_KINDS

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
        # A forked child must not store its parent's counts.
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
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
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
        excess = len(records) - MAX_WAITING
        if excess > 0:
            logger.error("dropped %s audit entries of refused requests", excess)
        self._waiting = records[max(excess, 0) :]


def _kind_of(record: AuditRecord) -> _Kind:
    return record.actor, record.action, record.status
