"""Jobs in callers' transactions, which count once their transaction has committed.

Drivers do not report commits, and a savepoint may be rolled back before one. So
:class:`Uncommitted` polls the table for the jobs.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.jobs import EnqueueResult
from flask_forge_jobs.storage.database import Executor, encode_names
from flask_forge_jobs.storage.recorder import Recorder

logger = get_logger(__name__)

# Jobs of a transaction that takes longer are not counted.
GIVE_UP_AFTER_S = 600.0
FIRST_PAUSE_S = 1.0
MAX_LOOKED_FOR = 10_000
MAX_WAITING = 100_000


@dataclass(slots=True)
class _Waiting:
    queue_name: str
    kind: str
    since: float
    look_at: float


class Uncommitted(PerProcess):
    """Jobs in callers' transactions that have not been seen to commit."""

    def __init__(self, database: Executor, recorder: Recorder, clock: Clock) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock
        self.stay_own()

    def _begin(self) -> None:
        # A forked child leaves its parent's jobs to the parent.
        self._lock = threading.RLock()
        self._waiting: dict[str, _Waiting] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether there are such jobs."""
        self.stay_own()
        return bool(self._waiting)

    def add(self, results: Iterable[EnqueueResult]) -> None:
        """Add jobs that were stored in a transaction that is still open."""
        self.stay_own()
        now = self._clock.monotonic()
        new = {
            each.id: _Waiting(each.queue_name, each.kind, now, now)
            for each in results
            if not each.is_deduped and not each.is_replayed
        }
        if not new:
            return
        with self._lock:
            self._waiting.update(new)
            too_many = max(len(self._waiting) - MAX_WAITING, 0)
            excess = list(islice(self._waiting, too_many))
            for job_id in excess:
                del self._waiting[job_id]
        if excess:
            logger.warning("%s jobs of open transactions are not counted", len(excess))
        self._recorder.on_activity()

    def count_committed(self) -> None:
        """Count the jobs that have been committed; for one thread at a time.

        The caller then takes the recorder's figures.

        Raises:
            StorageError: The read failed; the next call looks for all of them again.
        """
        self.stay_own()
        now = self._clock.monotonic()
        with self._lock:
            due = {
                job_id: each
                for job_id, each in self._waiting.items()
                if each.look_at <= now
            }
        looked_for = list(islice(due, MAX_LOOKED_FOR))
        if not looked_for:
            return
        rows = self._database.read_one(
            "statuses", rows=encode_names("job_id", looked_for)
        )
        committed = {row[0] for row in rows}
        with self._lock:
            for job_id in looked_for:
                each = due[job_id]
                waited_s = now - each.since
                if job_id in committed or waited_s > GIVE_UP_AFTER_S:
                    self._waiting.pop(job_id, None)
                # Most transactions are short, so poll for old jobs less often.
                each.look_at = now + max(waited_s, FIRST_PAUSE_S)
        came = Counter(
            (due[job_id].queue_name, due[job_id].kind) for job_id in committed
        )
        for (queue_name, kind), jobs in came.items():
            self._recorder.enqueued(queue_name, kind, jobs, is_taken_at_once=True)
