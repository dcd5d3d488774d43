"""Crew: the threads of a slot pool."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)


class Crew:
    """Threads that start when they are first needed.

    Whoever uses it holds the lock of the pool.

    Args:
        most: Most of them that work at once.
        work: What each of them runs.
    """

    def __init__(self, most: int, work: Callable[[], None]) -> None:
        self.most = most
        self.idle = 0
        self._work = work
        self._threads: set[threading.Thread] = set()
        # Stuck in runs that were abandoned.
        self._lost: set[int] = set()
        self._started_count = 0

    def staff(self, count: int) -> None:
        """Start what is missing for so many more runs; lost threads count no longer."""
        for _ in range(count - self.idle):
            living = len(self._threads) - len(self._lost)
            if living >= self.most:
                return
            try:
                self._start()
            except RuntimeError:
                # Claim no more than what can run; what is here already goes back.
                self.most = max(living, 1)
                logger.exception("no more threads; going on with %s", living)
                return

    def _start(self) -> None:
        self._started_count += 1
        thread = threading.Thread(
            target=self._work,
            name=f"forge-jobs-slot-{self._started_count}",
            daemon=True,
        )
        thread.start()
        self._threads.add(thread)

    def lose(self, ident: int) -> None:
        """Count on a thread no longer."""
        self._lost.add(ident)

    def leave(self) -> None:
        """Take in that the calling thread ends."""
        thread = threading.current_thread()
        self._threads.discard(thread)
        self._lost.discard(threading.get_ident())

    def threads(self) -> list[threading.Thread]:
        """Return those that have not ended."""
        return list(self._threads)
