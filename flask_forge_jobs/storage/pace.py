"""Spaces out the transactions of bulk verbs, to leave room for other writers.

SQLite has one writer at a time, and writers of other processes poll for the lock every
few milliseconds. A writer that begins again right after its commit would starve them.
On PostgreSQL no pauses are needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import methodcaller
from typing import TypeVar

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.metrics import FINEST_KEPT_US, KEPT_US, SAMPLE_LEVELS
from flask_forge_jobs.storage.database import Transaction

T = TypeVar("T")

# Most rows in one transaction of a bulk verb; the reference uses 500. 200 rows block
# other SQLite writers for 5 ms; with fewer, commits cost more than they save.
BATCH = 200
# Rows of figures that go at once.
PRUNE_ROWS = 500
# Length of a pause relative to the transaction before it: at 2.0 two of three polls
# find the file free.
PAUSES = 2.0
# Seconds between calls of ``is_over`` during a pause.
SLICE_S = 0.1


class Pace:
    """Runs the transactions of bulk verbs; shared by the threads of a process.

    ``backend`` is that of the database.
    """

    def __init__(
        self,
        backend: str,
        clock: Clock,
        wait: Callable[[float], object] = time.sleep,
        *,
        pauses: float = PAUSES,
    ) -> None:
        self._pauses = pauses
        self._clock = clock
        self._wait = wait
        self._takes_turns = backend == "sqlite"
        self._not_before = 0.0

    def rest(self, is_over: Callable[[], bool]) -> bool:
        """Pause now, before the next transaction; return whether the pause is over.

        ``is_over`` ends it early; it is called ten times a second.
        """
        until = self._not_before
        left_s = until - self._clock.monotonic()
        while left_s > 0:
            if is_over():
                return False
            self._wait(min(left_s, SLICE_S))
            left_s -= SLICE_S
        if self._not_before == until:
            self._not_before = 0.0  # unless another thread has begun a new one
        return True

    def write(
        self,
        write: Callable[[Callable[[Transaction], T]], T],
        work: Callable[[Transaction], T],
    ) -> T:
        """Run a unit of work by calling ``write`` with it, after a pause if due."""
        if not self._takes_turns:
            return write(work)
        pause_s = self._not_before - self._clock.monotonic()
        if pause_s > 0:
            self._wait(pause_s)
        # Measure the time with the lock, not the wait for it.
        began_at: list[float] = []

        def timed(transaction: Transaction) -> T:
            began_at.append(self._clock.monotonic())
            return work(transaction)

        try:
            return write(timed)
        finally:
            if began_at:
                ended_at = self._clock.monotonic()
                held_s = ended_at - began_at[-1]
                self._not_before = ended_at + self._pauses * held_s

    def prune(
        self,
        write: Callable[[Callable[[Transaction], int]], int],
        statement: str,
        now_us: int,
    ) -> int:
        """Drop old rows of each level of samples or gauges; return how many went."""
        gone = 0
        for level in SAMPLE_LEVELS:
            kept_us = FINEST_KEPT_US if level == SAMPLE_LEVELS[0] else KEPT_US
            drop = methodcaller(
                "run", statement, level=level, cutoff=now_us - kept_us, limit=PRUNE_ROWS
            )
            count = PRUNE_ROWS
            while count == PRUNE_ROWS:
                count = self.write(write, drop)
                gone += count
        return gone
