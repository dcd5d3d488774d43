"""Looks every second at what became of the jobs before."""

from __future__ import annotations

import math
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs import Storage
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.handlers import bulk
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.instants import SECOND_US
from tests.acceptance.ledger import Kill
from tests.acceptance.soak.load import Acks, Asked
from tests.support.clocks import MovingClock
from tests.support.sql import Sql

# Jobs are looked for when they are as old; a killed worker's wait for a lease, at most
# three times, and then for a retry.
SETTLED_S = 15.0
STUCK_S = 300.0
# A writer waits for them on SQLite, and p99 should not tell of the test.
DELETED_AT_ONCE = 100
_NO_LIMITS = bulk.BulkLimits(max_rows=10 * DELETED_AT_ONCE, max_s=60)
_ROWS = (
    "SELECT id, status, attempts, crashes, completed_at - enqueued_at FROM forge_job "
    "WHERE id >= ? AND id < ?"
)
_LOST_BY = "SELECT worker_id FROM forge_attempt WHERE job_id = ? AND ending = 'crashed'"
_MS_US = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """What the store says of a job."""

    job_id: str
    status: str
    attempts: int
    crashes: int
    total_us: int | None


class Watch:
    """Compares what was acknowledged with what the rows say, and deletes what ended."""

    def __init__(
        self, storage: Storage, sql: Sql, acks: Acks, kills: Sequence[Kill]
    ) -> None:
        self._storage = storage
        self._sql = sql
        self._acks = acks
        self._kills = kills
        self._clock = SystemClock()
        self.complaints: Counter[str] = Counter()
        self.ended = 0
        self.crashed = 0
        self._unacknowledged: set[str] = set()
        # When each look was, and how long each timed job took, in microseconds.
        self.timed: list[tuple[float, array[int]]] = []

    def look(self, settled_s: float = SETTLED_S) -> None:
        """Look at every job that is older; keep what has not ended for the next look.

        Args:
            settled_s: Least age, in seconds.
        """
        end = self._id_at(settled_s)
        asked = self._acks.before(end)
        if not asked:
            return
        rows = {
            row.job_id: row
            for row in (Row(*each) for each in self._sql.run(_ROWS, min(asked), end))
        }
        stuck = self._id_at(STUCK_S)
        gone: set[str] = set()
        timed = array("q")
        for job_id, wanted in asked.items():
            row = rows.get(job_id)
            if row is None:
                self.complaints["lost: was acknowledged and has no row"] += 1
            elif row.status != "done":
                if row.status != "dead" and job_id >= stuck:
                    continue
                self.complaints[f"{row.status} where it should be done"] += 1
            else:
                self._check(row, wanted)
                if wanted.is_timed and not row.crashes and row.total_us is not None:
                    timed.append(row.total_us)
            gone.add(job_id)
        # On a busy machine a call may take longer than a job to settle.
        self._unacknowledged |= rows.keys()
        self._unacknowledged -= asked.keys()
        self.complaints["was never acknowledged"] = len(self._unacknowledged)
        self._acks.forget(gone)
        self._delete(sorted(gone & rows.keys()))
        self.timed.append((time.monotonic(), timed))

    def _check(self, row: Row, wanted: Asked) -> None:
        self.ended += 1
        self.crashed += row.crashes > 0
        failures = row.attempts - 1 - row.crashes
        # A first run that was killed did not come to its failure.
        if failures > wanted.fails_once or (
            failures < wanted.fails_once and not row.crashes
        ):
            self.complaints["ran more often than it failed or its worker died"] += 1
        if row.crashes and not self._have_died(row):
            self.complaints["was given back although no worker died with it"] += 1

    def _have_died(self, row: Row) -> bool:
        """Return whether each worker that lost the job was killed.

        The database knows them. What a worker held at its death is not known for sure
        then: what it had sent before may be stored later.
        """
        workers = [worker_id for (worker_id,) in self._sql.run(_LOST_BY, row.job_id)]
        killed = {kill.worker_id for kill in self._kills}
        return len(workers) == row.crashes and killed.issuperset(workers)

    def _delete(self, job_ids: Sequence[str]) -> None:
        for start in range(0, len(job_ids), DELETED_AT_ONCE):
            some = job_ids[start : start + DELETED_AT_ONCE]
            bulk.change_named(self._storage, JobAction.DELETE, some, _NO_LIMITS)

    def _id_at(self, age_s: float) -> str:
        """Return the least id of a job that is so many seconds old."""
        at_us = self._clock.now_us() - int(age_s * SECOND_US)
        return UlidGenerator(MovingClock(at_us), lambda _bits: 0).new()


def percentile_ms(numbers: Sequence[int], share: float) -> float:
    """Return the number below or at which so many of them are, in milliseconds.

    Args:
        numbers: Sorted, in microseconds.
        share: Above 0 and at most 1.
    """
    if not numbers:
        return math.nan
    return numbers[math.ceil(share * len(numbers)) - 1] / _MS_US
