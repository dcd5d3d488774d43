"""Keeps one of a server's threads from waiting for a database that hangs.

Calls that hang would soon hold every thread that answers requests, and health checks
with them. So would waits for a read of another thread, which count as calls; see
:attr:`.Database.turn`. How many threads there are is learned from the calls, since no
server tells. Once all threads but one wait for the database and the first one has done
so for a while, the last one asks by a :class:`.Trial` whether the database answers at
all. If it does, the others are merely slow; otherwise the call fails at once.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.request_threads import this_thread
from flask_forge_jobs.storage.postgres.faults import NotTriedError
from flask_forge_jobs.storage.postgres.trial import Trial

# While the first call under way is younger than this, nothing seems to hang.
YOUNG_S = 0.02
# How long the last thread waits for another one before it doubts the database.
DOUBT_S = 0.1
# A database that does not answer a trial for as long hangs; to make a session may take
# longer, above all the first one of a process.
SILENCE_S = 0.4
CONNECT_S = 2.0


@dataclass(slots=True)
class _Turn:
    """A thread's call, from its first try to its last."""

    since: float
    is_trying: bool = True


class _ThisThread(threading.local):
    is_known = False


class RequestGate:
    """Admits the calls of threads that answer requests; ``trial`` tells a hang."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._threads = 0
        self._this_thread = _ThisThread()
        self._changed = threading.Condition()
        self._waiting = 0
        # By thread, the first one first.
        self._turns: dict[int, _Turn] = {}

    def enter(self) -> bool:
        """Admit a call; return whether it ends with :meth:`leave`.

        One that is made within another call does not.

        Raises:
            NotTriedError: The database hangs or fails, and this may be the last thread.
        """
        if not this_thread.answers_requests:
            return False
        if not self._this_thread.is_known:
            self._this_thread.is_known = True
            with self._changed:
                self._threads += 1
        me = threading.get_ident()
        turn = self._turns.get(me)
        if turn is not None:
            was_trying, turn.is_trying = turn.is_trying, True
            return not was_trying
        if self.is_last():
            self._doubt()
        self._turns[me] = _Turn(time.monotonic())
        return True

    def pause(self) -> None:
        """Note that the call waits for its next try, and goes on to hold its thread."""
        self._turns[threading.get_ident()].is_trying = False

    def give_up(self) -> None:
        """End a call of this thread whose next try is not made, if there is one."""
        turn = self._turns.get(threading.get_ident())
        if turn is not None and not turn.is_trying:
            self.leave()

    def leave(self) -> None:
        """End the call."""
        del self._turns[threading.get_ident()]
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    def is_last(self) -> bool:
        """Whether all other threads wait for the database, and the first one long."""
        if not 0 < self._threads - 1 <= len(self._turns):
            return False
        turns = list(self._turns.values())  # a copy: others change them meanwhile
        return bool(turns) and time.monotonic() - turns[0].since >= YOUNG_S

    def _doubt(self) -> None:
        """Wait for another thread; raise if the database does not answer."""
        self._trial.check(SILENCE_S, CONNECT_S)
        since = time.monotonic()
        with self._changed:
            self._waiting += 1
            try:
                if self._changed.wait_for(
                    lambda: len(self._turns) < self._threads - 1, DOUBT_S
                ):
                    return
            finally:
                self._waiting -= 1
        try:
            self._trial.takes_writes(since, SILENCE_S, CONNECT_S)
        except StorageUnavailableError as error:
            raise NotTriedError(getattr(error, "reason", str(error))) from error
