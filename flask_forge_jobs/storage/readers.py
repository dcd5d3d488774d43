"""Readers: the stores that a worker does not use.

Each is imported at its first use, because a worker should start soon and stay small.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from flask_forge_jobs.storage.database import Database
from flask_forge_jobs.storage.executor import StoreExecutor

if TYPE_CHECKING:
    from flask_forge_jobs.storage.attention import AttentionReader
    from flask_forge_jobs.storage.audit import AuditLog
    from flask_forge_jobs.storage.cron_history import CronHistory
    from flask_forge_jobs.storage.jobs.activity import JobActivity
    from flask_forge_jobs.storage.jobs.evidence import EvidenceStore
    from flask_forge_jobs.storage.jobs.search import JobSearch
    from flask_forge_jobs.storage.worker_reader import WorkerReader


class Readers:
    """What operators read, and the log of what they changed.

    Args:
        database: The database.
        executor: Runs the calls of the stores.
        timed: The same for the verbs on jobs, which it times.
    """

    def __init__(
        self, database: Database, executor: StoreExecutor, timed: StoreExecutor
    ) -> None:
        self.database = database
        self._executor = executor
        self._timed = timed

    @cached_property
    def activity(self) -> JobActivity:
        """What happened to jobs."""
        from flask_forge_jobs.storage.jobs.activity import JobActivity

        return JobActivity(self._timed)

    @cached_property
    def attention(self) -> AttentionReader:
        """The facts about the whole system."""
        from flask_forge_jobs.storage.attention import AttentionReader

        return AttentionReader(self._executor, self.database)

    @cached_property
    def audit(self) -> AuditLog:
        """The changes of operators."""
        from flask_forge_jobs.storage.audit import AuditLog

        return AuditLog(self._executor)

    @cached_property
    def cron_history(self) -> CronHistory:
        """The runs of schedules."""
        from flask_forge_jobs.storage.cron_history import CronHistory

        return CronHistory(self._executor)

    @cached_property
    def evidence(self) -> EvidenceStore:
        """Why a job is where it is."""
        from flask_forge_jobs.storage.jobs.evidence import EvidenceStore

        return EvidenceStore(self._timed)

    @cached_property
    def job_search(self) -> JobSearch:
        """Jobs by their texts."""
        from flask_forge_jobs.storage.jobs.search import JobSearch

        return JobSearch(self._timed)

    @cached_property
    def worker_reader(self) -> WorkerReader:
        """Workers with their present and past jobs."""
        from flask_forge_jobs.storage.worker_reader import WorkerReader

        return WorkerReader(self._executor)
