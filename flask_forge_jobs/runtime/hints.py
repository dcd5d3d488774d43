"""Hints for developers, logged when a job is enqueued.

Once for each kind and process: no task here has it. In debug mode, at most once a
minute: no worker serves the queue. Outside of it, once for each queue and process: no
worker has ever served it. In tests: the database holds jobs already, so it may be that
of development.
"""

from __future__ import annotations

import contextlib
import difflib
import shlex
import threading
from collections.abc import Callable, Collection, Iterable

from flask_forge_jobs.config.database import URL_KEY, DatabaseSettings
from flask_forge_jobs.errors import QueueNotFoundError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.log_lines import LogThrottle, one_line
from flask_forge_jobs.model.workers import LIVE_WITHIN_S, unserved_queues
from flask_forge_jobs.storage.base import Storage

logger = get_logger(__name__)
# Keeps the jobs of tests in memory, like a URL of None.
_IN_MEMORY = {
    "SQLALCHEMY_DATABASE_URI": "SQLALCHEMY_DATABASE_URI = 'sqlite://'",
    "SQLALCHEMY_ENGINES": "SQLALCHEMY_ENGINES = {'default': 'sqlite://'}",
}
MAX_SEEN = 1000  # callers may invent kinds


class Hints:
    """Warns a developer before a job is stored."""

    def __init__(
        self,
        storage: Storage,
        settings: DatabaseSettings,
        known_kinds: Callable[[], Collection[str]] = tuple,
        *,
        enabled_by: Callable[[], Iterable[object]],
        is_testing: Callable[[], bool],
    ) -> None:
        self._storage = storage
        self._settings = settings
        # No method, because every enqueue asks: are any of these true?
        self.enabled_by = enabled_by
        self._is_testing = is_testing
        self._known_kinds = known_kinds
        # Pairs of queue and kind of which there is no more to say.
        self.seen: set[tuple[str | None, str]] = set()
        self._given: dict[tuple[str, str], object] = {}
        # The queues of the embedded worker, which may be about to start.
        self.served_here: Callable[[], Iterable[str]] = tuple
        self._unlooked = threading.Lock()
        self._log_throttle = LogThrottle()

    def look_at(self, queue_name: str, kind: str, *, may_read: bool) -> None:
        """Warn, once, of a kind without a task and a queue that was never served.

        Call it for new jobs whose pair is not in :attr:`seen`, after they are stored.

        Args:
            queue_name: The queue.
            kind: The kind.
            may_read: Whether the database may be read; not while a transaction of the
                caller may lock it.
        """
        if len(self.seen) >= MAX_SEEN or len(self._given) >= MAX_SEEN:
            return
        mine = object()  # so that of several threads one gives the hint
        if self._given.setdefault(("kind", kind), mine) is mine:
            self._warn_of_unknown(kind)
        if not may_read:
            return
        self.seen.add((queue_name, kind))
        # No other process could serve a database in memory.
        if any(self.enabled_by()) or self._settings.is_memory:
            return
        if self._given.setdefault(("queue", queue_name), mine) is mine:
            with contextlib.suppress(StorageError):
                self._warn_of_never_served(queue_name)

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
        queues = self._storage.job_reader.statistics().values()
        if jobs := sum(queue.counts.total for queue in queues):
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

    def _warn_of_never_served(self, queue_name: str) -> None:
        if queue_name in self.served_here():
            return
        workers = self._storage.workers.live(LIVE_WITHIN_S)
        if not unserved_queues([queue_name], workers):
            return
        if not self._was_served(queue_name):
            name = one_line(queue_name)
            logger.warning(
                "no worker has ever served queue %s, its jobs wait; start one with "
                "`flask forge-jobs worker --queues %s`",
                name,
                shlex.quote(name),
            )

    def _was_served(self, queue_name: str) -> bool:
        try:
            return self._storage.queues.get(queue_name).last_served_at is not None
        except QueueNotFoundError:
            return False

    def _warn_of_unknown(self, kind: str) -> None:
        known = self._known_kinds()
        # A program without tasks enqueues for others.
        if not known or kind in known:
            return
        similar = difflib.get_close_matches(kind, known, 1)
        logger.warning(
            "no task of this application has the kind %s%s; its jobs wait for a worker "
            "that has one",
            one_line(kind),
            f" (did you mean {one_line(similar[0])}?)" if similar else "",
        )
