"""Upkeep: merges the appended changes of the maintained counts."""

from __future__ import annotations

from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.storage.jobs.admin import JobAdmin

PERIOD_S = 2.0


class Upkeep(Service):
    """Keeps the table of counts short; any number of processes may run it.

    Args:
        job_admin: The store that owns the verb.
    """

    def __init__(self, job_admin: JobAdmin) -> None:
        super().__init__("upkeep", PERIOD_S)
        self._job_admin = job_admin

    def tick(self) -> None:
        """Fold once."""
        self._job_admin.fold_counts()
