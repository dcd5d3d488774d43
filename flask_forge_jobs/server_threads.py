"""The threads of forge-jobs-server, and the order in which large requests get one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

# How long other requests may come before the next large one.
LONGEST_PAUSE_S = 0.25


class RequestThreads(ThreadPoolExecutor):
    """Threads that answer requests, and one more for quick requests.

    Args:
        threads: How many answer the others.
        quick_requests: How quick requests begin.
    """

    def __init__(self, threads: int, quick_requests: tuple[bytes, ...]) -> None:
        super().__init__(threads)
        self._quick_requests = quick_requests
        self._quick = ThreadPoolExecutor(1)

    def submit(  # type: ignore[override]  # gunicorn passes the connection
        self, handle: Callable[[Any], Any], conn: Any
    ) -> Future[Any]:
        """Handle a connection in a thread."""
        if conn.sock.starts_with(self._quick_requests):
            return self._quick.submit(handle, conn)
        return super().submit(handle, conn)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # the base's signature
        """Stop all of them."""
        self._quick.shutdown(wait, cancel_futures=cancel_futures)
        super().shutdown(wait, cancel_futures=cancel_futures)


class LargeRequests:
    """Large requests, of which one is answered at a time, and others in between.

    They compute, and threads that compute at once are no faster. Parsing a body is one
    call that keeps Python's lock for up to 0.1 s, and a small request takes that lock
    several times. If the next large request followed at once, a small one would wait
    for a part of each.
    """

    def __init__(self) -> None:
        self._waiting: deque[Any] = deque()
        self._present: Any = None
        self._paused_at = 0.0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    @property
    def is_any_under_way(self) -> bool:
        """Whether one is being answered."""
        return self._present is not None

    @property
    def is_next_due(self) -> bool:
        """Whether one waits and none is being answered."""
        return bool(self._waiting) and self._present is None

    @property
    def is_pause_over(self) -> bool:
        """Whether others have had :data:`LONGEST_PAUSE_S`."""
        return time.monotonic() - self._paused_at >= LONGEST_PAUSE_S

    def add(self, conn: Any) -> None:
        """Let a large request wait."""
        if not self.is_next_due:
            self._paused_at = time.monotonic()
        self._waiting.append(conn)

    def take(self) -> Any:
        """Return the next one, which is answered now."""
        self._present = self._waiting.popleft()
        return self._present

    def finish(self, conn: Any) -> None:
        """Note that a request is answered, whether it was large or not.

        A thread of an older gunicorn calls this; all else is for the main thread.
        """
        if conn is self._present:
            self._paused_at = time.monotonic()
            self._present = None
