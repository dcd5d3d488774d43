"""Retention: deletes finished jobs and old failures, in the leader."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import AlreadyRunningError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.jobs.errors import ErrorStore
from flask_forge_jobs.storage.retention import Retention

logger = get_logger(__name__)

RETENTION_PERIOD_S = 300.0


class Sweeper(Duty):
    """Deletes finished jobs after the retention of their queue, in the leader.

    A sweep may take minutes; between two batches it yields to other duties that are
    due.
    """

    def __init__(
        self,
        retention: Retention,
        errors: ErrorStore,
        leader: Leader,
        *,
        others: Sequence[Duty] = (),
        clock: Clock,
    ) -> None:
        super().__init__("retention", RETENTION_PERIOD_S, begins_late=True, clock=clock)
        self._retention = retention
        self._errors = errors
        self._leader = leader
        self._others = others
        self._deleted = 0
        self._goes_on = False

    def tick(self) -> bool:
        """Sweep, if this process leads, until all is deleted or it has to yield."""
        self._goes_on = False
        if not self._leader.is_leader:
            return False
        self._errors.expire()
        try:
            report = self._retention.sweep(is_over=self._has_to_end, gently=True)
        except AlreadyRunningError:
            return True  # an operator runs one
        self._deleted += report.done_deleted + report.dead_deleted
        self._goes_on = not report.is_complete
        if self._deleted and not self._goes_on:
            logger.info("retention: deleted %s finished jobs", self._deleted)
            self._deleted = 0
        return True

    def _has_to_end(self) -> bool:
        if self.is_stopping or not self._leader.is_leader:
            return True
        return any(not duty.wait_s for duty in self._others)

    def pause_s(self) -> float:
        """Continue a sweep that yielded as soon as the other duties are done."""
        return 0.0 if self._goes_on else self.period_s
