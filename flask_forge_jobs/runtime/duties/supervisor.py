"""Supervisor: applies the settings of the queues while the worker runs.

It reads ``max_workers`` and ``paused`` and sets how many jobs of each queue may run
here, this process's share of the total. When a share shrinks, running jobs finish.
"""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.workers import shares
from flask_forge_jobs.runtime.duties.membership import Membership
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.queues import QueueConfig

SETTINGS_PERIOD_S = 1.0


class Supervisor(Duty):
    """Applies the settings of the queues while the worker runs."""

    def __init__(
        self,
        queues: QueueConfig,
        membership: Membership,
        handover: Handover,
        settings: dict[str, QueueSettings],
        *,
        notify: Callable[[str], object],
        clock: Clock,
    ) -> None:
        super().__init__("supervisor", SETTINGS_PERIOD_S, clock=clock)
        self._queues = queues
        self._membership = membership
        self._handover = handover
        self._settings = settings
        self._notify = notify
        self._limits: dict[str, int] = {}

    def tick(self) -> None:
        """Read the settings and apply them."""
        stored = {queue.name: queue for queue in self._queues.all()}
        settings = self._settings
        # A deleted queue gets jobs from producers that remember it: as if it were new.
        settings |= {name: stored.get(name) or QueueSettings(name) for name in settings}
        known = stored | settings
        totals = {name: queue.max_workers for name, queue in known.items()}
        slots = shares(totals, self._membership.look())
        for name in settings:
            self._apply(settings[name], slots[name, self._membership.worker_id])

    def _apply(self, queue: QueueSettings, limit: int) -> None:
        name = queue.name
        if queue.paused:
            limit = 0
        before = self._limits.get(name)
        if limit == before:
            return
        self._limits[name] = limit
        self._handover.set_limit(name, limit)
        if limit and (before is None or limit > before):
            self._notify(name)
