"""Time limits of the runs under way."""

from __future__ import annotations

from collections.abc import Iterator

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.one_line import one_line
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.tasks.cancellation import CancelReason

logger = get_logger(__name__)


class TimeLimits:
    """Cancels runs past their time limit; takes the slot if they will not stop.

    Args:
        pool: The slots.
        cancel_grace_s: Seconds between the two.
    """

    def __init__(self, pool: SlotPool, cancel_grace_s: float) -> None:
        self._pool = pool
        self._cancel_grace_s = cancel_grace_s

    def next_looks(self) -> Iterator[float]:
        """Yield the monotonic instants at which there is something to do."""
        for execution in self._pool.running():
            moment = execution.abandons_at or execution.stops_at
            if moment is not None:
                yield moment

    def enforce(self, now: float) -> list[Execution]:
        """Do what is due; return the runs that have lost their slot."""
        return [each for each in self._pool.running() if self._has_to_go(each, now)]

    def _has_to_go(self, execution: Execution, now: float) -> bool:
        if execution.stops_at is None or now < execution.stops_at:
            return False
        if execution.abandons_at is None:
            # Who has a process to end does so first, and then tells how it went.
            own_s = self._pool.stop_limit_s(execution)
            execution.abandons_at = now + max(self._cancel_grace_s, own_s)
            execution.token.cancel(CancelReason.TIMEOUT)
        elif now >= execution.abandons_at and self._pool.abandon(execution):
            job = execution.job
            kind = one_line(job.kind)
            logger.error("job %s (%s) ignores its time limit", job.id, kind)
            return True
        return False
