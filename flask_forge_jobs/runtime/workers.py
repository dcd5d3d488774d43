"""The workers as seen by one of them: who is alive, who leads, whose jobs to rescue.

A silent process counts as gone within seconds, long before its jobs are rescued,
because giving its slots to others too early does no harm.

A worker is silent for the reaper if its heartbeat did not move for one lease on the
monotonic clock of the observer, so a jump of a wall clock neither kills a live job nor
keeps a dead one. A heartbeat that is many leases old by the database's clock is watched
for a shorter time, so that jobs are rescued even if no worker lives for a whole lease.
Every worker runs a reaper; the write is fenced, so each job is rescued once.

A job is rescued if its own heartbeat is silent, too. Alone that would not do, because
the jobs of a worker with a longer lease beat more rarely than it shows itself.

Leadership saves work and guarantees nothing: a process that was suspended may still
believe that it leads. The rows that a leader changes guard against that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.workers import Leases, WorkerRegistry

logger = get_logger(__name__)
K = TypeVar("K", bound=Hashable)

SILENT_S = 4.0  # two heartbeats
LEADER_LEASE = "leader"
LEADER_LEASE_S = 15.0
RENEW_PERIOD_S = 5.0
SWEEPS_PER_LEASE = 4
# A silence of this many leases by the database's clock counts for this part of a lease.
# The rest is watched, so that a jump of that clock does not end jobs of live workers.
OLD_LEASES = 3
OLD_COUNTS_FOR = 2 / 3


class HeartbeatAges(Generic[K]):
    """How long each heartbeat has not moved."""

    def __init__(self) -> None:
        self._seen: dict[K, tuple[object, float]] = {}

    def observe(
        self,
        heartbeats: Iterable[tuple[K, object]],
        elapsed_s: float,
        ages_s: Mapping[K, float] = MappingProxyType({}),
    ) -> None:
        """Record the current heartbeats, by key.

        ``elapsed_s`` is the time since the last call that counts; ``ages_s`` the age of
        heartbeats that are new, by default 0.
        """
        now: dict[K, tuple[object, float]] = {}
        for key, heartbeat in heartbeats:
            if key not in self._seen:
                now[key] = (heartbeat, ages_s.get(key, 0.0))
                continue
            before, age_s = self._seen[key]
            now[key] = (heartbeat, age_s + elapsed_s if before == heartbeat else 0.0)
        self._seen = now

    def older_than(self, limit_s: float) -> list[K]:
        """Return the keys whose heartbeat has not moved for ``limit_s`` seconds."""
        return [key for key, (_, age_s) in self._seen.items() if age_s >= limit_s]


class _Intervals:
    """The time between two looks at the heartbeats, as far as it counts as silence.

    It counts up to this process's last write, the monotonic time that ``written_until``
    returns: a lock that blocks this process, or a full disk that refuses one of its
    writes, may keep the others from beating, too. Nothing counts after an error, nor of
    an interval over ``longest_s`` seconds: a process that was suspended or cut off
    itself has not been watching.
    """

    def __init__(self, written_until: Callable[[], float], longest_s: float) -> None:
        self._written_until = written_until
        self._longest_s = longest_s
        self._counted_until: float | None = None

    @contextlib.contextmanager
    def next(self) -> Iterator[float]:
        """Look within the block, which gets the seconds since the last look."""
        # Taken before the look: until here, each heartbeat could move.
        until = self._written_until()
        last, self._counted_until = self._counted_until, None  # stays None on an error
        elapsed_s = 0.0 if last is None else max(until - last, 0.0)
        yield 0.0 if elapsed_s > self._longest_s else elapsed_s
        self._counted_until = until


class Membership:
    """Finds the live worker processes; this one always counts as live.

    ``written_until`` returns the monotonic time of this process's last write.
    """

    def __init__(
        self,
        workers: WorkerRegistry,
        *,
        worker_id: str,
        queue_names: Sequence[str],
        written_until: Callable[[], float],
    ) -> None:
        self._workers = workers
        self._worker_id = worker_id
        self._queue_names = tuple(queue_names)
        self._intervals = _Intervals(written_until, SILENT_S)
        self._ages: HeartbeatAges[str] = HeartbeatAges()

    def look(self) -> Mapping[str, Sequence[str]]:
        """Return the queues of each live process."""
        with self._intervals.next() as elapsed_s:
            seen = self._workers.heartbeat_ages()
            self._ages.observe(
                ((worker.worker_id, worker.heartbeat_at) for worker, _ in seen),
                elapsed_s,
                {worker.worker_id: age_s for worker, age_s in seen},
            )
        gone = set(self._ages.older_than(SILENT_S))
        there = {
            worker.worker_id: worker.queues
            for worker, _ in seen
            if worker.worker_id not in gone
        }
        return there | {self._worker_id: self._queue_names}


class Leader(Duty):
    """Elects the process that does the work of which one process is enough.

    It takes the leader's lease when it is free, and renews it.
    """

    def __init__(self, leases: Leases, *, worker_id: str, clock: Clock) -> None:
        super().__init__("leader", RENEW_PERIOD_S, clock=clock)
        self._leases = leases
        self._worker_id = worker_id
        self._leads_until: float | None = None
        self.on_gained: Callable[[], object] = lambda: None
        """Called when this process becomes the leader."""

    @property
    def is_leader(self) -> bool:
        """Whether this process leads, as of its last renewal."""
        until = self._leads_until
        return until is not None and self._clock.since_boot() < until

    def tick(self) -> None:
        """Take or renew the lease."""
        led_before = self.is_leader
        asked_at = self._clock.since_boot()  # first, so that our lease never ends late
        has_lease = self._leases.take(LEADER_LEASE, self._worker_id, LEADER_LEASE_S)
        self._leads_until = asked_at + LEADER_LEASE_S if has_lease else None
        if has_lease and not led_before:
            self.on_gained()

    def finish(self) -> None:
        """Release the lease, so that another process can lead at once."""
        self._leads_until = None
        self._leases.release(LEADER_LEASE, self._worker_id)


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
        self._intervals = _Intervals(written_until, 2 * lease_s / SWEEPS_PER_LEASE)
        self._job_ages: HeartbeatAges[tuple[str, int]] = HeartbeatAges()
        self._worker_ages: HeartbeatAges[str] = HeartbeatAges()

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
        if stale:
            rescued = self._jobs.rescue(stale)
            if rescued:  # otherwise another reaper was faster
                logger.warning("rescued %s jobs of silent workers", rescued)
        if silent:
            self._workers.reap(silent)
            logger.warning("removed silent workers: %s", ", ".join(silent))

    def _old(self, ages_s: Mapping[K, float]) -> dict[K, float]:
        """Return the ages to start with for heartbeats that are many leases old."""
        limit_s, counts_s = OLD_LEASES * self._lease_s, OLD_COUNTS_FOR * self._lease_s
        return {key: counts_s for key, age_s in ages_s.items() if age_s >= limit_s}
