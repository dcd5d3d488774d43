"""Upkeep of the counts of jobs and of failures, in every process."""

from __future__ import annotations

from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.jobs.errors import ErrorStore

COUNTS_PERIOD_S = 2.0


class Upkeep(Duty):
    """Folds the changes of the counts."""

    def __init__(self, job_admin: JobAdmin, errors: ErrorStore) -> None:
        super().__init__("upkeep", COUNTS_PERIOD_S)
        self._job_admin = job_admin
        self._errors = errors

    def tick(self) -> None:
        """Fold once."""
        self._job_admin.fold_counts()
        self._errors.fold()
