"""Hints for developers, logged when a job is enqueued; never in production.

In debug mode: no worker serves the queue. In tests: the database holds jobs already, so
it may be that of development.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable

from flask_forge_jobs.config.database import URL_KEY, DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.log_lines import LogThrottle, one_line
from flask_forge_jobs.model.workers import LIVE_WITHIN_S, unserved_queues
from flask_forge_jobs.storage.base import Storage

logger = get_logger(__name__)
# What keeps the jobs of tests in memory, if not a URL of None.
_IN_MEMORY = {"SQLALCHEMY_DATABASE_URI": "SQLALCHEMY_DATABASE_URI = 'sqlite://'"}


class Hints:
    """Warns a developer before a job is stored."""

    def __init__(
        self,
        storage: Storage,
        settings: DatabaseSettings,
        *,
        are_wanted: Callable[[], bool],
        is_testing: Callable[[], bool],
    ) -> None:
        self._storage = storage
        self._settings = settings
        self.are_wanted = are_wanted
        self._is_testing = is_testing
        # The queues of the embedded worker, which may be about to start.
        self.served_here: Callable[[], Iterable[str]] = tuple
        self._unlooked = threading.Lock()
        self._log_throttle = LogThrottle()

    def give(self, queue_names: Iterable[str]) -> None:
        """Warn if jobs in these queues would wait, or meet jobs of before."""
        if self._is_testing():
            if self._unlooked.acquire(blocking=False):
                with contextlib.suppress(StorageError):
                    self._warn_of_other_jobs()
        else:
            with contextlib.suppress(StorageError):
                self._warn_of_unserved(set(queue_names))

    def _warn_of_other_jobs(self) -> None:
        if self._settings.is_memory or self._settings.is_unnamed:
            return
        found = self._storage.job_reader.statistics().values()
        if jobs := sum(queue.counts.total for queue in found):
            logger.warning(
                "these tests use %s, set by %s, which already holds %s jobs; give them "
                "a database of their own, or set %s to keep their jobs in memory",
                self._settings.dsn_for_display,
                self._settings.source,
                jobs,
                _IN_MEMORY.get(self._settings.source or "", f"{URL_KEY} = None"),
            )

    def _warn_of_unserved(self, queue_names: set[str]) -> None:
        names = queue_names.difference(self.served_here())
        asked = [name for name in names if self._log_throttle.is_time_for(name)]
        if not asked:
            return
        workers = self._storage.workers.live(LIVE_WITHIN_S)
        for name in unserved_queues(asked, workers):
            logger.warning("no worker serves queue %s, its jobs wait", one_line(name))
