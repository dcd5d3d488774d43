"""Membership: which worker processes live, as seen by one of them.

A process without a heartbeat counts as gone within seconds, long before its jobs are
rescued, because giving its slots to others too early does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask_forge_jobs.runtime.duties.heartbeat_ages import HeartbeatAges, Intervals
from flask_forge_jobs.storage.workers import WorkerRegistry

SILENT_S = 4.0  # two heartbeats


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
        self.worker_id = worker_id
        self._queue_names = tuple(queue_names)
        self._intervals = Intervals(written_until, SILENT_S)
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
        return there | {self.worker_id: self._queue_names}
