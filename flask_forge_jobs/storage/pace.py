"""Pacing: many transactions in a row that leave room for those of others.

On PostgreSQL writers hardly meet. On SQLite they take turns, and one that begins again
as soon as it has committed hardly lets anybody in: writers of other processes do not
queue, they look again every few milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.storage.database import Executor, Transaction
from flask_forge_jobs.storage.units import present

T = TypeVar("T")

# Most rows that one transaction of a bulk verb changes. The reference has 500. On
# SQLite others wait for it to end: so many take 5 ms, and fewer would spend more on
# commits than they save.
BATCH = 200
# A pause is so many times as long as the transaction before it, so that two looks of
# three find the file free.
PAUSES = 2.0
# Seconds of a pause after which somebody who has more urgent things to do is asked.
SLICE_S = 0.1


class Pace:
    """Runs the transactions of bulk verbs; shared by the threads of a process.

    Args:
        database: The seam to the database.
        clock: Measures transactions.
        wait: Waits for some seconds.
        pauses: How many times as long as the transaction before it a pause is.
    """

    def __init__(
        self,
        database: Executor,
        clock: Clock,
        wait: Callable[[float], object] = time.sleep,
        *,
        pauses: float = PAUSES,
    ) -> None:
        self._pauses = pauses
        self._database = database
        self._clock = clock
        self._wait = wait
        self._takes_turns = database.backend == "sqlite"
        self._not_before = 0.0

    def rest(self, is_over: Callable[[], bool]) -> bool:
        """Make the pause before the next transaction now, unless it has to end.

        Args:
            is_over: Asked ten times a second whether the caller has to do other things.

        Returns:
            Whether the pause is over.
        """
        until = self._not_before
        left_s = until - self._clock.monotonic()
        while left_s > 0:
            if is_over():
                return False
            self._wait(min(left_s, SLICE_S))
            left_s -= SLICE_S
        if self._not_before == until:
            self._not_before = 0.0  # else somebody else has begun another one
        return True

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work as :meth:`.Executor.write` does, after a pause if due.

        One that is a part of a :class:`.Unit` is not one of many.
        """
        if not self._takes_turns or present.unit is not None:
            return self._database.write(work)
        pause_s = self._not_before - self._clock.monotonic()
        if pause_s > 0:
            self._wait(pause_s)
        # Waiting for the lock is no reason to pause; holding it is.
        began_at: list[float] = []

        def timed(transaction: Transaction) -> T:
            began_at.append(self._clock.monotonic())
            return work(transaction)

        try:
            return self._database.write(timed)
        finally:
            if began_at:
                ended_at = self._clock.monotonic()
                held_s = ended_at - began_at[-1]
                self._not_before = ended_at + self._pauses * held_s
