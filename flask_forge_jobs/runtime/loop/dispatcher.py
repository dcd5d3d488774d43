"""The dispatcher: the one thread of a worker that writes outcomes and claims jobs.

With nothing to do, it sleeps until a wake-up, the next scheduled job, the next time
limit or the next poll.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.runtime.claim_schedule import ExchangePace
from flask_forge_jobs.runtime.loop.rounds import Rounds
from flask_forge_jobs.runtime.loop.writer import OutcomeWriter
from flask_forge_jobs.runtime.service import FIRST_S, Watch

logger = get_logger(__name__)

LONGEST_ROUND_S = 300.0  # more than all retries of an unreachable database take
# A wake-up is the name of a queue to look at, None for all queues, or this for none.
WAKE = ""
Inbox = SimpleQueue[str | None]


class Dispatcher:
    """Keeps the slots fed and the outcomes written, round by round.

    Any thread, and any handler of a signal, may add a wake-up to the inbox. ``wait``
    waits for so many seconds.
    """

    def __init__(
        self,
        rounds: Rounds,
        writer: OutcomeWriter,
        inbox: Inbox,
        clock: Clock,
        *,
        pace: ExchangePace,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._pace = pace
        self._wait = wait
        self._rounds = rounds
        self._writer = writer
        self._inbox = inbox
        self._clock = clock
        self._ends_at: float | None = None
        self._watch = Watch(clock, LONGEST_ROUND_S)
        self._thread = threading.Thread(
            target=self._run, name="forge-jobs-dispatcher", daemon=True
        )

    # -- from other threads ----------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_stuck(self) -> bool:
        """Whether the thread hangs or has died.

        The heartbeat still renews its jobs, so no other worker would run them.
        """
        has_died = self._thread.ident is not None and not self._thread.is_alive()
        return self._watch.is_stuck or (has_died and self._ends_at is None)

    def notify(self, queue_name: str | None = None) -> None:
        """Look for work in a queue, or in all of them.

        For all of them, the caller has just reached the database, so a pause after a
        failure is over.
        """
        # Wake-ups of queues that others serve arrive as well.
        if queue_name is None or queue_name in self._rounds.queue_names:
            self._inbox.put(queue_name)

    def finish(self, timeout_s: float) -> bool:
        """Write the last outcomes and end the thread; return whether all was stored.

        Retries a failing database for ``timeout_s`` seconds.
        """
        self._ends_at = self._clock.monotonic() + timeout_s
        self._inbox.put(WAKE)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._writer.has_unwritten

    # -- the thread ------------------------------------------------------------------

    def _run(self) -> None:
        watch = self._watch
        while self._ends_at is None or not self._is_over(self._ends_at):
            try:
                self._hear(self._pause_s())
                room_s = self._pace.next_at - self._clock.monotonic()
                if room_s > 0:
                    self._wait(room_s)
                    self._hear(0.0)
                watch.began_at = self._clock.monotonic()
                has_worked = self._rounds.go()
                watch.began_at = None
                if has_worked:
                    watch.broken_since = None
            except StorageError as error:
                # A new process could do no better.
                watch.began_at = watch.broken_since = None
                self._rounds.note_failure(error)
            except BaseException:  # even SystemExit must not end the thread
                watch.fail()
                logger.exception("the dispatcher failed; trying again")
                self._rounds.rest.begin(self._clock.monotonic())
                self._hear(FIRST_S)

    def _hear(self, timeout_s: float) -> None:
        """Wait for a wake-up, and take all that have come."""
        try:
            queue_name = self._inbox.get(timeout=timeout_s)
            while True:
                if queue_name != WAKE:
                    self._rounds.hear(queue_name)
                queue_name = self._inbox.get_nowait()
        except Empty:
            pass

    def _pause_s(self) -> float:
        if self._ends_at is None:
            return self._rounds.pause_s()
        self._rounds.rest.longest_s = FIRST_S
        left_s = self._ends_at - self._clock.monotonic()
        return max(min(self._rounds.pause_s(), left_s), 0.0)

    def _is_over(self, ends_at: float) -> bool:
        is_late = self._rounds.is_shut_out or self._clock.monotonic() >= ends_at
        return is_late or not self._writer.has_unwritten
