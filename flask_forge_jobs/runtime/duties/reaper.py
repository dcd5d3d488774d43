"""Reaper: rescues the jobs of silent workers.

A worker is silent if its heartbeat did not move for one lease. A heartbeat that is many
leases old by the database's clock is watched for a shorter time, so that jobs are
rescued even if no worker lives for a whole lease. Every worker runs a reaper; the write
is fenced, so each job is rescued once.

A job is rescued if its own heartbeat is silent, too. Alone that would not do, because
the jobs of a worker with a longer lease beat more rarely than it shows itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.runtime.duties.heartbeat_ages import HeartbeatAges, Intervals
from flask_forge_jobs.runtime.duties.registration import Period
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.workers import WorkerRegistry

logger = get_logger(__name__)
K = TypeVar("K")

SWEEPS_PER_LEASE = 4
# A silence of this many leases by the database's clock counts for this part of a lease.
# The rest is watched, so that a jump of that clock does not end jobs of live workers.
OLD_LEASES = 3
OLD_COUNTS_FOR = 2 / 3
# How often workers that were lost long ago are removed.
TIDYING_S = 300.0


class Reaper(Duty):
    """Watches the heartbeats of all workers, and rescues the jobs of silent ones.

    ``written_until`` returns the monotonic time of this process's last write.
    """

    def __init__(
        self,
        jobs: JobQueue,
        workers: WorkerRegistry,
        *,
        lease_s: float,
        written_until: Callable[[], float],
    ) -> None:
        super().__init__("reaper", lease_s / SWEEPS_PER_LEASE)
        self._jobs = jobs
        self._workers = workers
        self._lease_s = lease_s
        self._intervals = Intervals(written_until, 2 * lease_s / SWEEPS_PER_LEASE)
        self._job_ages: HeartbeatAges[tuple[str, int]] = HeartbeatAges()
        self._worker_ages: HeartbeatAges[str] = HeartbeatAges()
        self._kept: set[str] = set()
        self._tidying = Period(TIDYING_S, self._clock.monotonic() + TIDYING_S)

    def tick(self) -> None:
        """Read the heartbeats, and rescue jobs that were silent for a lease."""
        with self._intervals.next() as elapsed_s:
            self._sweep(elapsed_s)

    def _sweep(self, elapsed_s: float) -> None:
        running = {(job.id, job.attempts): job for job in self._jobs.running()}
        workers = self._workers.heartbeat_ages()
        self._job_ages.observe(
            ((key, job.heartbeat_at_us) for key, job in running.items()),
            elapsed_s,
            self._old({k: job.silent_us / SECOND_US for k, job in running.items()}),
        )
        self._worker_ages.observe(
            ((worker.worker_id, worker.heartbeat_at) for worker, _ in workers),
            elapsed_s,
            self._old({worker.worker_id: age_s for worker, age_s in workers}),
        )
        silent = self._worker_ages.older_than(self._lease_s)
        alive = {worker.worker_id for worker, _ in workers}.difference(silent)
        stale = [
            running[key]
            for key in self._job_ages.older_than(self._lease_s)
            if running[key].worker_id not in alive
        ]
        rescued = self._jobs.rescue(stale) if stale else 0
        if rescued:  # otherwise another reaper was faster
            logger.warning("rescued %s jobs of workers without a heartbeat", rescued)
        now = self._clock.monotonic()
        # Until its jobs are rescued, a worker's slots tell which of them had started.
        # The next sweep sees whose jobs are left.
        ids = {job.id for job in stale} if rescued == len(stale) else set()
        busy = {job.worker_id for job in running.values() if job.id not in ids}
        lost = [worker_id for worker_id in silent if worker_id not in busy]
        if lost or self._tidying.is_due(now):
            self._workers.reap(lost)
            self._tidying.done(now)
        if lost:
            logger.warning("workers without a heartbeat are lost: %s", ", ".join(lost))
        self._name_kept(busy)

    def _name_kept(self, busy: set[str]) -> None:
        """Log once each worker that still has jobs after another lease of silence."""
        kept = busy.intersection(self._worker_ages.older_than(2 * self._lease_s))
        if new := sorted(kept - self._kept):
            names = ", ".join(new)
            logger.warning("cannot rescue all jobs of lost workers yet: %s", names)
        self._kept = kept

    def _old(self, ages_s: Mapping[K, float]) -> dict[K, float]:
        """Return the ages to start with for heartbeats that are many leases old."""
        limit_s, counts_s = OLD_LEASES * self._lease_s, OLD_COUNTS_FOR * self._lease_s
        return {key: counts_s for key, age_s in ages_s.items() if age_s >= limit_s}
