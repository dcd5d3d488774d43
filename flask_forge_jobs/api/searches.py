"""One search in texts at a time for each caller.

A search may have to read every job, up to the time limit of a statement. One caller who
sends many must not hold all threads of a process, and the database with them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from flask_forge_jobs.errors import RateLimitedError
from flask_forge_jobs.model.jobs import JobFilter

RETRY_AFTER_S = 1


class Searches:
    """Knows who is searching in this process."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._callers: set[str] = set()

    @contextlib.contextmanager
    def alone(self, caller: str, wanted: JobFilter | None) -> Iterator[None]:
        """Hold the caller's only place while a filter is used.

        Args:
            caller: Who asks.
            wanted: The filter; only one that searches in texts takes the place.

        Raises:
            RateLimitedError: The caller is searching already.
        """
        if wanted is None or not wanted.searches_texts:
            yield
            return
        with self._changing:
            if caller in self._callers:
                raise RateLimitedError(RETRY_AFTER_S)
            self._callers.add(caller)
        try:
            yield
        finally:
            self._callers.discard(caller)
