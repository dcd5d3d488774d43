"""Upkeep of the job counts, in every process."""

from __future__ import annotations

from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.jobs.admin import JobAdmin

COUNTS_PERIOD_S = 2.0


class Upkeep(Duty):
    """Folds the changes of the job counts."""

    def __init__(self, job_admin: JobAdmin) -> None:
        super().__init__("upkeep", COUNTS_PERIOD_S)
        self._job_admin = job_admin

    def tick(self) -> None:
        """Fold once."""
        self._job_admin.fold_counts()
