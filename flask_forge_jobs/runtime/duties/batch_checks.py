"""BatchChecks: corrects the counts of batches once a minute, in the leader."""

from __future__ import annotations

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.batch_checker import BatchChecker

logger = get_logger(__name__)

CHECK_PERIOD_S = 60.0


class BatchChecks(Duty):
    """Compares open batches with their rows, some at each tick, and corrects them."""

    def __init__(self, checker: BatchChecker, leader: Leader, *, clock: Clock) -> None:
        super().__init__("batch-checks", CHECK_PERIOD_S, begins_late=True, clock=clock)
        self._checker = checker
        self._leader = leader
        self._since_us = 0

    def tick(self) -> bool:
        """Look at the next batches, if this process leads."""
        if not self._leader.is_leader:
            return False
        self._checker.drop_ended_holds()
        faults, self._since_us = self._checker.look(self._since_us)
        for fault in faults:
            if self._checker.correct(fault):
                logger.warning(
                    "batch %s (%s): corrected its counts, which had %s unfinished jobs "
                    "where there are %s",
                    fault.id,
                    one_line(fault.name),
                    fault.counted,
                    fault.unfinished,
                )
        return True
