"""Places for event streams, each of which occupies a thread of the server.

A stream is offered only if the server answers in threads, and only a few at a time, so
that the other threads stay free for the API; further callers poll.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from flask_forge_jobs.forks import PerProcess

# The server may put a threading.Event here, which it sets when it stops, and how many
# streams it can hold.
STOPPING = "forge_jobs.stopping"
CAPACITY = "forge_jobs.streams"
# Of Flask's own server, which starts a thread for each request.
DEVELOPMENT_LIMIT = 8
_DEVELOPMENT_SERVER = "Werkzeug/"


class Streams(PerProcess):
    """The streams of one process.

    Args:
        limit: How many there may be at a time. None means those that the server says
            it can hold, those of Flask's own server, and none elsewhere, because an
            application cannot see how many threads its server has.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.stay_own()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._open = 0

    def limit(self, environ: Mapping[str, Any]) -> int:
        """Return how many streams the server of a request may hold."""
        if not environ["wsgi.multithread"]:
            return 0
        if self._limit is not None:
            return self._limit
        software = str(environ.get("SERVER_SOFTWARE", ""))
        is_development = software.startswith(_DEVELOPMENT_SERVER)
        default = DEVELOPMENT_LIMIT if is_development else 0
        return int(environ.get(CAPACITY, default))

    @contextlib.contextmanager
    def place(self, environ: Mapping[str, Any]) -> Iterator[bool]:
        """Take a place for as long as the context lasts; yield whether there is one."""
        self.stay_own()
        with self._lock:
            is_free = self._open < self.limit(environ)
            self._open += is_free
        try:
            yield is_free
        finally:
            with self._lock:
                self._open -= is_free
