"""Reaper: gives back the jobs of worker processes that fell silent.

Stale means that the heartbeat did not move for one lease on this process's own
monotonic clock, so a clock that jumps, here or on the server, neither kills a live job
nor keeps a dead one. What the database calls many leases old need not be watched for
all of one, else nobody would recover anything where no process lives that long. Every
worker process runs a reaper; the write is fenced by what was observed, so any number of
them do the work once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.runtime.membership import HeartbeatAges, K
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.workers import WorkerRegistry

logger = get_logger(__name__)

SWEEPS_PER_LEASE = 4
# A silence of so many leases by the database's clock counts for this part of one here.
# The rest is watched: a single jump of that clock must not end the jobs of the living,
# whose heartbeats move meanwhile.
OLD_LEASES = 3
OLD_COUNTS_FOR = 2 / 3


class Reaper(Duty):
    """Watches the heartbeats of all processes.

    Args:
        jobs: The hot path of the storage.
        workers: The registry of workers.
        lease_s: Seconds of silence that end ownership.
        written_until: Returns the monotonic instant up to which this process is known
            to have been able to write. Silence counts up to there only: while a lock
            keeps everybody out, a live process is as silent as a dead one.
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
        self._written_until = written_until
        self._job_ages: HeartbeatAges[tuple[str, int]] = HeartbeatAges()
        self._worker_ages: HeartbeatAges[str] = HeartbeatAges()
        self._counted_until: float | None = None

    def tick(self) -> None:
        """Look once, and give back what has been silent for a lease."""
        # Taken before the look: what is seen then had until here to move.
        until = self._written_until()
        last, self._counted_until = self._counted_until, None  # an error voids it
        running = {(job.id, job.attempts): job for job in self._jobs.running()}
        workers = self._workers.heartbeat_ages()
        elapsed_s = 0.0 if last is None else max(until - last, 0.0)
        # A process that was itself stopped or kept out has not been watching.
        if elapsed_s > 2 * self._lease_s / SWEEPS_PER_LEASE:
            elapsed_s = 0.0
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
        stale = [running[key] for key in self._job_ages.older_than(self._lease_s)]
        if stale:
            rescued = self._jobs.rescue(stale)
            if rescued:  # else another reaper was first
                logger.warning("gave back %s jobs of silent worker processes", rescued)
        silent = self._worker_ages.older_than(self._lease_s)
        if silent:
            self._workers.reap(silent)
            logger.warning("removed silent worker processes: %s", ", ".join(silent))
        self._counted_until = until

    def _old(self, ages_s: Mapping[K, float]) -> dict[K, float]:
        """Return for how long what has been silent for many leases counts as such."""
        limit_s, counts_s = OLD_LEASES * self._lease_s, OLD_COUNTS_FOR * self._lease_s
        return {key: counts_s for key, age_s in ages_s.items() if age_s >= limit_s}
