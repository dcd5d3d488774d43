"""BulkRunDuty: goes on with bulk runs whose process has died."""

from __future__ import annotations

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.bulk_walk import work_on

PERIOD_S = 5.0
# The duties of a thread take turns.
TURN_S = 2.0


class BulkRunDuty(Duty):
    """Looks for lapsed runs, and works on one of them, a turn at each tick."""

    def __init__(
        self, storage: Storage, holder: str, *, clock: Clock | None = None
    ) -> None:
        super().__init__("bulk-runs", PERIOD_S, clock=clock)
        self._storage = storage
        self._holder = holder
        self._run_id: str | None = None

    def tick(self) -> None:
        """Work for a turn, if there is a run to go on with."""
        run_id = self._run_id
        if run_id is None:
            lapsed = self._storage.bulk_runs.lapsed(1)
            if not lapsed:
                return
            (run_id,) = lapsed
        ends_at = self._clock.monotonic() + TURN_S
        goes_on = work_on(
            self._storage,
            run_id,
            self._holder,
            lambda: self.is_stopping or self._clock.monotonic() >= ends_at,
        )
        self._run_id = run_id if goes_on else None

    def pause_s(self) -> float:
        """Go on soon with a run that is under way."""
        return PERIOD_S if self._run_id is None else 0.0
