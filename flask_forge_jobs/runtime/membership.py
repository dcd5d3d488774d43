"""Membership: which worker processes are alive, as seen by one of them.

A silent process counts as gone within seconds, long before its jobs are rescued,
because giving its slots to others too early does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar

from flask_forge_jobs.storage.workers import WorkerRegistry

SILENT_S = 4.0  # two heartbeats
K = TypeVar("K", bound=Hashable)


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


class Membership:
    """Finds the live worker processes; this one always counts as live.

    ``written_until`` returns the monotonic time of this process's last write: while it
    cannot write itself, silence of others proves nothing.
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
        self._written_until = written_until
        self._ages: HeartbeatAges[str] = HeartbeatAges()
        self._counted_until: float | None = None

    def look(self) -> Mapping[str, Sequence[str]]:
        """Return the queues of each live process."""
        until = self._written_until()  # before the read, as in the reaper
        last, self._counted_until = self._counted_until, None  # stays None on an error
        seen = self._workers.heartbeat_ages()
        elapsed_s = 0.0 if last is None else max(until - last, 0.0)
        if elapsed_s > SILENT_S:  # this process was suspended or cut off itself
            elapsed_s = 0.0
        self._ages.observe(
            ((worker.worker_id, worker.heartbeat_at) for worker, _ in seen),
            elapsed_s,
            {worker.worker_id: age_s for worker, age_s in seen},
        )
        self._counted_until = until
        gone = set(self._ages.older_than(SILENT_S))
        there = {
            worker.worker_id: worker.queues
            for worker, _ in seen
            if worker.worker_id not in gone
        }
        return there | {self._worker_id: self._queue_names}
