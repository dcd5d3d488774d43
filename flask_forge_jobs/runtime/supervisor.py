"""Supervisor: follows the settings of the declared queues at run time.

Every second it reads ``max_workers`` and ``paused`` and tells the slots how many jobs
of each queue may run here: this process's fair share of the cluster-wide total.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.queues import MAX_WORKERS_PER_PROCESS, QueueSettings
from flask_forge_jobs.runtime.dispatcher import Dispatcher
from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.storage.processes import ProcessRegistry
from flask_forge_jobs.storage.queues import QueueConfig

logger = logging.getLogger(__name__)

TICK_S = 1.0
# The number of live processes changes rarely.
COUNT_PODS_PERIOD_S = 5.0


def fair_share(max_workers: int, pod_count: int) -> int:
    """Return how many of a queue's workers one process runs (core contract 4.4).

    Args:
        max_workers: Cluster-wide total.
        pod_count: Live processes that declared the queue; at least 1 is assumed.

    Returns:
        The quotient rounded up, at most 64.
    """
    share = -(-max_workers // max(pod_count, 1))
    return min(share, MAX_WORKERS_PER_PROCESS)


class Supervisor(Service):
    """Sets the limits of the slots.

    Args:
        queues: Settings of queues.
        processes: The process registry, to count who else serves a queue.
        pool: The slots.
        dispatcher: Learns of room and gives back jobs of a paused queue.
        queue_names: The declared queues.
        lease_s: Oldest heartbeat of a process that counts as live, in seconds.
        clock: For periods.
    """

    def __init__(
        self,
        queues: QueueConfig,
        processes: ProcessRegistry,
        pool: SlotPool,
        dispatcher: Dispatcher,
        *,
        queue_names: Sequence[str],
        lease_s: float,
        clock: Clock,
    ) -> None:
        super().__init__("supervisor", TICK_S)
        self._queues = queues
        self._processes = processes
        self._pool = pool
        self._dispatcher = dispatcher
        self._queue_names = tuple(queue_names)
        self._lease_s = lease_s
        self._clock = clock
        self._settings = {name: QueueSettings(name) for name in queue_names}
        self._pod_counts = dict.fromkeys(queue_names, 1)
        self._counted_at: float | None = None
        self._limits: dict[str, int] = {}

    def settings_of(self, queue_name: str) -> QueueSettings:
        """Return a queue's settings as last read, or the defaults."""
        return self._settings.get(queue_name) or QueueSettings(queue_name)

    def tick(self) -> None:
        """Read the settings and apply them; what cannot be read stays as it was."""
        self._settings.update((queue.name, queue) for queue in self._queues.all())
        now = self._clock.monotonic()
        if self._counted_at is None or now - self._counted_at >= COUNT_PODS_PERIOD_S:
            self._count_pods()
            self._counted_at = now
        for name in self._queue_names:
            self._apply(name)

    def _count_pods(self) -> None:
        pods = self._processes.live_pods(self._lease_s)
        for name in self._queue_names:
            self._pod_counts[name] = sum(
                not pod.queues or name in pod.queues for pod in pods
            )

    def _apply(self, name: str) -> None:
        queue = self._settings[name]
        limit = fair_share(queue.max_workers, self._pod_counts[name])
        if queue.paused:
            limit = 0
        before = self._limits.get(name)
        if limit == before:
            return
        self._limits[name] = limit
        self._pool.set_limit(name, limit)
        if limit == 0:
            self._dispatcher.give_back(self._pool.take_back(queue_name=name))
        elif before is None or limit > before:
            self._dispatcher.wake(name)
