"""Upkeep of the counts of jobs, of failures and of batches, in every process."""

from __future__ import annotations

from flask_forge_jobs.model.ordering import FROM_THE_OLDEST
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.batches import OPEN_S, BatchStore
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.jobs.errors import ErrorStore

COUNTS_PERIOD_S = 2.0
# The duties of a thread take turns.
TURN_S = 2.0


class Upkeep(Duty):
    """Folds the changes of the counts, and goes on with batches.

    An open batch whose producer has added nothing for ``batch_open_s`` is cancelled.
    """

    def __init__(
        self,
        job_admin: JobAdmin,
        errors: ErrorStore,
        batches: BatchStore,
        batch_open_s: float = OPEN_S,
    ) -> None:
        super().__init__("upkeep", COUNTS_PERIOD_S)
        self._batches = batches
        self._batch_open_s = batch_open_s
        self._place = FROM_THE_OLDEST
        self._job_admin = job_admin
        self._errors = errors

    def tick(self) -> None:
        """Fold once, and go on with some batches."""
        self._job_admin.fold_counts()
        self._errors.fold()
        ends_at = self._clock.monotonic() + TURN_S
        self._place = self._batches.tend(
            self._batch_open_s,
            after=self._place,
            is_over=lambda: self.is_stopping or self._clock.monotonic() >= ends_at,
        )
