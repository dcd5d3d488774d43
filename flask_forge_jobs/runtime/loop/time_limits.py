"""TimeLimits: stops runs that take longer than they may."""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob, RunId
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.run.execution import Execution

logger = get_logger(__name__)


class TimeLimits:
    """Cancels runs past their time limit, and frees the slot if they do not stop.

    A run gets ``cancel_grace_s`` to stop, or ``stop_limit_s(job)`` if that is longer.
    Only the loop's thread uses it.
    """

    def __init__(
        self,
        handover: Handover,
        *,
        stop_limit_s: Callable[[ClaimedJob], float],
        cancel_grace_s: float,
    ) -> None:
        self._handover = handover
        self._stop_limit_s = stop_limit_s
        self._cancel_grace_s = cancel_grace_s
        # When the runs that were asked to stop lose their slot.
        self._abandons_at: dict[RunId, float] = {}
        self.next_at: float | None = None
        """The monotonic time of the next thing to enforce, or None."""

    def look(self) -> float | None:
        """Return :attr:`next_at` for the jobs that run now."""
        self.next_at = None
        for execution in self._handover.running:
            if execution.stops_at is None:
                continue
            run = execution.job.run_id
            moment = self._abandons_at.get(run, execution.stops_at)
            if self.next_at is None or moment < self.next_at:
                self.next_at = moment
        return self.next_at

    def enforce(self, now: float) -> None:
        """Stop the runs that are past their limit."""
        late = [
            execution
            for execution in self._handover.running
            if execution.stops_at is not None and now >= execution.stops_at
        ]
        runs = {execution.job.run_id for execution in late}
        self._abandons_at = {
            run: moment for run, moment in self._abandons_at.items() if run in runs
        }
        for execution in late:
            self._enforce(execution, now)

    def _enforce(self, execution: Execution, now: float) -> None:
        job = execution.job
        abandons_at = self._abandons_at.get(job.run_id)
        if abandons_at is None:
            # An isolated task first ends its process, and then returns its outcome.
            grace_s = max(self._cancel_grace_s, self._stop_limit_s(job))
            self._abandons_at[job.run_id] = now + grace_s
            execution.token.cancel(CancelReason.TIMEOUT)
            return
        is_late = now >= abandons_at
        if is_late and self._handover.abandon(execution, Failed("timed out")):
            logger.error(
                "job %s (%s) ignores its time limit", job.id, one_line(job.kind)
            )
