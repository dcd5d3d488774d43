"""Supervisor: follows the settings of the declared queues at run time.

Every second it reads ``max_workers`` and ``paused`` and tells the slots how many jobs
of each queue may run here: this process's share of the cluster-wide total. Jobs that
run beyond a share that became smaller end in peace.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.shares import shares
from flask_forge_jobs.runtime.dispatcher import Dispatcher
from flask_forge_jobs.runtime.presence import Presence
from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.storage.queues import QueueConfig

logger = get_logger(__name__)

TICK_S = 1.0


class Supervisor(Service):
    """Sets the limits of the slots.

    Args:
        queues: Settings of queues.
        presence: Tells who else is there.
        pool: The slots.
        dispatcher: Learns of room and gives back jobs of a paused queue.
        host_id: This process.
        queue_names: The declared queues.
        clock: Ages the last tick.
    """

    def __init__(
        self,
        queues: QueueConfig,
        presence: Presence,
        pool: SlotPool,
        dispatcher: Dispatcher,
        *,
        host_id: str,
        queue_names: Sequence[str],
        clock: Clock,
    ) -> None:
        super().__init__("supervisor", TICK_S, clock=clock)
        self._queues = queues
        self._presence = presence
        self._pool = pool
        self._dispatcher = dispatcher
        self._host_id = host_id
        self._queue_names = tuple(queue_names)
        self._settings = {name: QueueSettings(name) for name in queue_names}
        self._limits: dict[str, int] = {}

    def settings_of(self, queue_name: str) -> QueueSettings:
        """Return a queue's settings as last read, or the defaults."""
        return self._settings.get(queue_name) or QueueSettings(queue_name)

    def tick(self) -> None:
        """Read the settings and apply them; what cannot be read stays as it was."""
        stored = {queue.name: queue for queue in self._queues.all()}
        self._settings |= {n: q for n, q in stored.items() if n in self._settings}
        known = stored | self._settings
        totals = {name: queue.max_workers for name, queue in known.items()}
        found = shares(totals, self._presence.look())
        for name in self._queue_names:
            self._apply(self._settings[name], found[name, self._host_id])

    def _apply(self, queue: QueueSettings, limit: int) -> None:
        name = queue.name
        if queue.paused:
            limit = 0
        before = self._limits.get(name)
        if limit == before:
            return
        self._limits[name] = limit
        self._pool.set_limit(name, limit)
        if limit == 0:
            self._dispatcher.give_back_waiting(name)
        elif before is None or limit > before:
            self._dispatcher.wake(name)
