"""Enforces the time limits of running jobs."""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.one_line import one_line
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.runtime.state import WorkerState
from flask_forge_jobs.tasks.cancellation import CancelReason

logger = get_logger(__name__)


class TimeLimits:
    """Cancels runs past their time limit, and frees the slot if they do not stop.

    A run gets ``cancel_grace_s`` to stop, or ``stop_limit_s(job)`` if that is longer.
    """

    def __init__(
        self,
        state: WorkerState,
        pool: SlotPool,
        *,
        stop_limit_s: Callable[[ClaimedJob], float],
        cancel_grace_s: float,
    ) -> None:
        self._state = state
        self._pool = pool
        self._stop_limit_s = stop_limit_s
        self._cancel_grace_s = cancel_grace_s

    def next_look(self) -> float | None:
        """Return the monotonic time of the next thing to enforce, or None."""
        found: float | None = None
        for execution in self._state.running():
            moment = execution.abandons_at or execution.stops_at
            if moment is not None and (found is None or moment < found):
                found = moment
        return found

    def enforce(self, now: float) -> None:
        """Stop the runs that are past their limit."""
        for execution in self._state.running():
            if execution.stops_at is not None and now >= execution.stops_at:
                self._enforce(execution, now)

    def _enforce(self, execution: Execution, now: float) -> None:
        job = execution.job
        if execution.abandons_at is None:
            # An isolated task first ends its process, and then returns its outcome.
            grace_s = max(self._cancel_grace_s, self._stop_limit_s(job))
            execution.abandons_at = now + grace_s
            execution.token.cancel(CancelReason.TIMEOUT)
            return
        is_late = now >= execution.abandons_at
        if is_late and self._pool.abandon(execution, Failed("timed out")):
            kind = one_line(job.kind)
            logger.error("job %s (%s) ignores its time limit", job.id, kind)
