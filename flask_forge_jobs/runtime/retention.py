"""Sweeper: deletes finished jobs whose time is up, every few minutes."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import AlreadyRunningError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.runtime.leader import Leader
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.retention import Retention

logger = get_logger(__name__)

PERIOD_S = 300.0


class Sweeper(Duty):
    """Applies the retention windows of all queues in the process that leads.

    A sweep may take minutes. It pauses between two batches when another duty of its
    thread is due, and goes on afterwards.
    """

    def __init__(
        self,
        retention: Retention,
        leader: Leader,
        *,
        others: Sequence[Duty] = (),
        clock: Clock,
    ) -> None:
        super().__init__("retention", PERIOD_S, begins_late=True, clock=clock)
        self._retention = retention
        self._leader = leader
        self._others = others
        self._deleted = 0
        self._goes_on = False

    def tick(self) -> None:
        """Sweep, if this process leads, until all is done or it has to give way."""
        self._goes_on = False
        if not self._leader.is_leader:
            return
        try:
            report = self._retention.sweep(is_over=self._has_to_end, gently=True)
        except AlreadyRunningError:
            return  # an operator is at it
        self._deleted += report.done_deleted + report.dead_deleted
        self._goes_on = not report.is_complete
        if self._deleted and not self._goes_on:
            logger.info("retention: deleted %s finished jobs", self._deleted)
            self._deleted = 0

    def _has_to_end(self) -> bool:
        if self.is_stopping or not self._leader.is_leader:
            return True
        return any(not duty.wait_s for duty in self._others)

    def pause_s(self) -> float:
        """Go on at once with a sweep that gave way; the others come first."""
        return 0.0 if self._goes_on else self.period_s
