"""Sweeper: deletes finished jobs whose time is up, every few minutes."""

from __future__ import annotations

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import AlreadyRunningError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.runtime.leader import Leader
from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.storage.retention import Retention

logger = get_logger(__name__)

PERIOD_S = 300.0


class Sweeper(Service):
    """Applies the retention windows of all queues in the process that leads.

    Args:
        retention: Knows the windows and deletes in batches.
        leader: Tells whether it is this process's turn.
        clock: Ages the last sweep.
    """

    def __init__(self, retention: Retention, leader: Leader, *, clock: Clock) -> None:
        super().__init__("retention", PERIOD_S, begins_late=True, clock=clock)
        self._retention = retention
        self._leader = leader

    def tick(self) -> None:
        """Sweep once, if this process leads; stop when it no longer does."""
        if not self._leader.is_leader:
            return
        try:
            report = self._retention.sweep(
                is_over=lambda: self.is_stopping or not self._leader.is_leader,
                gently=True,
            )
        except AlreadyRunningError:
            return  # an operator is at it
        deleted = report.done_deleted + report.dead_deleted
        if deleted:
            logger.info("retention: deleted %s finished jobs", deleted)
