"""Retention: deletes finished jobs past their retention time.

Jobs go in batches with a commit between, so that writers get in. Only one sweep runs in
the whole cluster; it holds a lease that every batch renews.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from flask_forge_jobs.errors import (
    AlreadyRunningError,
    QueueNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.instants import DAY_US
from flask_forge_jobs.model.jobs import FINAL, JobStatus
from flask_forge_jobs.model.queues import CleanupReport, QueueSettings
from flask_forge_jobs.storage.database import Parameter, Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.pace import BATCH, Pace
from flask_forge_jobs.storage.reading import read_together
from flask_forge_jobs.storage.ties.settlement import Settled, Settlement
from flask_forge_jobs.storage.ties.turns import deleted_turns
from flask_forge_jobs.storage.workers import Leases, renewed

logger = get_logger(__name__)

# A background sweep gives way to all others: with the batches and pauses of a bulk
# action, writers of a SQLite file would wait three times as long.
GENTLE_BATCH = 20
GENTLE_PAUSES = 20.0
LEASE = "cleanup"
# Longer than one batch can take with all its retries.
LEASE_S = 120.0
# A batch goes with its last job. One without jobs stays for as long.
EMPTY_BATCH_DAYS = 7
# Periods; more might exceed the time limit of a statement.
COUNTED_AT_ONCE = 20
_DEFAULTS = QueueSettings("")

RetentionPeriod = tuple[str, JobStatus, int]


class Retention:
    """Applies the retention periods of the queues.

    ``pace`` runs the batches that a caller waits for, ``gentle_pace`` the others.
    """

    def __init__(
        self,
        database: StoreExecutor,
        leases: Leases,
        ids: UlidGenerator,
        pace: Pace,
        gentle_pace: Pace,
        *,
        settlement: Settlement,
    ) -> None:
        self._settlement = settlement
        self._database = database
        self._pace = pace
        self._gentle_pace = gentle_pace
        self._leases = leases
        self._ids = ids

    def sweep(
        self,
        queue_name: str | None = None,
        *,
        max_rows: int | None = None,
        is_over: Callable[[], bool] = lambda: False,
        gently: bool = False,
    ) -> CleanupReport:
        """Delete done and dead jobs that are older than their queue keeps them.

        Sweeps one queue, or every registered queue and, with default periods, every
        other one that has jobs. A queue that fails does not stop the sweep of the
        others. ``is_over`` is called before each batch. ``gently`` takes smaller
        batches and longer pauses, which impose little load but take far longer.

        Raises:
            QueueNotFoundError: No queue has this name.
            AlreadyRunningError: Another sweep is running.
            StorageError: A queue could not be swept; the others were.
        """
        periods = self._periods(queue_name)
        holder = self._ids.new()
        if not self._leases.take(LEASE, holder, LEASE_S):
            raise AlreadyRunningError("a cleanup is under way")
        try:
            pace = self._gentle_pace if gently else self._pace
            batch = GENTLE_BATCH if gently else BATCH
            return self._sweep(periods, _Sweep(holder, pace, batch, is_over, max_rows))
        finally:
            self._leases.release(LEASE, holder)

    def expired(self, queue_name: str | None = None) -> CleanupReport:
        """Return the jobs that :meth:`sweep` would delete now."""
        counts: Counter[JobStatus] = Counter()
        periods = self._periods(queue_name)
        for start in range(0, len(periods), COUNTED_AT_ONCE):
            part = periods[start : start + COUNTED_AT_ONCE]
            queries = [("count_expired", _parameters(period)) for period in part]
            past = read_together(self._database, queries)
            for (_, status, _), ((count,),) in zip(part, past, strict=True):
                counts[status] += int(count)
        return _report(counts, is_complete=True)

    def delete(
        self, queue_name: str, status: JobStatus, days: int, limit: int = BATCH
    ) -> int:
        """Delete a batch of jobs that ended so many days ago; return how many."""
        values = _parameters((queue_name, status, days))

        def work(transaction: Transaction) -> int:
            return self._delete_within(transaction, limit, values)

        return self._database.write_batch(work, int, self._pace)

    def _periods(self, queue_name: str | None) -> list[RetentionPeriod]:
        rows = self._database.read_all(
            "retention_periods",
            any_queue=queue_name is None,
            queue_name=queue_name,
            done_days=_DEFAULTS.retain_done_for_days,
            dead_days=_DEFAULTS.retain_dead_for_days,
        )
        if queue_name is not None and not rows:
            raise QueueNotFoundError(queue_name)
        return [
            (name, status, days)
            for name, *periods in rows
            for status, days in zip(FINAL, periods, strict=True)
        ]

    def _sweep(self, periods: list[RetentionPeriod], sweep: _Sweep) -> CleanupReport:
        failure: StorageError | None = None
        for period in periods:
            try:
                if not self._sweep_one(period, sweep):
                    return _report(sweep.deleted, is_complete=False)
            except StorageUnavailableError:
                raise
            except StorageError as error:
                logger.exception("the jobs of queue %r could not be swept", period[0])
                failure = error
        self._database.execute(
            "forget_empty_batches", age_us=EMPTY_BATCH_DAYS * DAY_US, limit=BATCH
        )
        if failure is not None:
            raise failure
        return _report(sweep.deleted, is_complete=True)

    def _sweep_one(self, period: RetentionPeriod, sweep: _Sweep) -> bool:
        """Delete jobs past one period; False when the sweep must stop early."""
        while sweep.room > 0:
            if not sweep.pace.rest(sweep.is_over):
                return False
            count = self._delete(period, sweep)
            if count is None:
                return False
            sweep.deleted[period[1]] += count
            if not count:
                return True
        return False

    def _delete(self, period: RetentionPeriod, sweep: _Sweep) -> int | None:
        """Delete one batch; None when another sweep has taken the lease."""
        values = _parameters(period)

        def work(transaction: Transaction) -> int | None:
            if not renewed(transaction, LEASE, sweep.holder, LEASE_S):
                return None
            return self._delete_within(transaction, sweep.room, values)

        return self._database.write_batch(work, _number, sweep.pace)

    def _delete_within(
        self, transaction: Transaction, limit: int, values: dict[str, Parameter]
    ) -> int:
        gone = transaction.all("delete_expired", limit=limit, **values)
        # They had ended, so that nothing follows that would have to be counted.
        self._settlement.settle(transaction, deleted_turns(gone), Settled())
        return len(gone)


@dataclass
class _Sweep:
    """The progress of one sweep."""

    holder: str
    pace: Pace
    batch: int
    is_over: Callable[[], bool]
    max_rows: int | None
    deleted: Counter[JobStatus] = field(default_factory=Counter)

    @property
    def room(self) -> int:
        """Most jobs of the next batch; 0 when the sweep must stop."""
        if self.is_over():
            return 0
        if self.max_rows is None:
            return self.batch
        return min(self.batch, self.max_rows - self.deleted.total())


def _parameters(period: RetentionPeriod) -> dict[str, Parameter]:
    queue_name, status, days = period
    return {"queue_name": queue_name, "status": status.value, "age_us": days * DAY_US}


def _number(deleted: int | None) -> int:
    return deleted or 0


def _report(counts: Counter[JobStatus], *, is_complete: bool) -> CleanupReport:
    return CleanupReport(
        done_deleted=counts[JobStatus.DONE],
        dead_deleted=counts[JobStatus.DEAD],
        is_complete=is_complete,
    )
