"""Allows each caller one text search at a time.

A search may read every job, up to the statement time limit. Many searches of one caller
must not hold all threads of a process, and the database with them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from flask_forge_jobs.errors import RateLimitedError
from flask_forge_jobs.model.jobs import JobFilter

RETRY_AFTER_S = 1


class Searches:
    """The callers that are searching in this process."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._callers: set[str] = set()

    @contextlib.contextmanager
    def alone(self, caller: str, wanted: JobFilter | None) -> Iterator[None]:
        """Hold the caller's one place, if the filter searches texts.

        Raises:
            RateLimitedError: The caller is already searching.
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
