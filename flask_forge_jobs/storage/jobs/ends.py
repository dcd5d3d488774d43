"""Tells waiting callers that a job has ended.

A waiter sends the job's id to every worker. A worker remembers it for a while and
announces the end once it is stored; jobs without a waiter cost nothing. Polling, at
least once a second, finds the end when a message is lost. Both messages travel as
wake-ups; queue names cannot begin with their first characters.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.reentry import one_call
from flask_forge_jobs.storage.database import Database, Listener, WakeCallback
from flask_forge_jobs.storage.executor import StoreExecutor

_ASKED, _ENDED = "#", "%"
# Waiters repeat the question far more often, also for workers that start later.
REMEMBERED_S = 30.0
# The job may end before a worker gets the question, so the first polls are quick.
FIRST_LOOK_S = 0.02
SLOWEST_LOOK_S = 1.0


class JobEnds(PerProcess):
    """Tells waiters which jobs have ended."""

    def __init__(self, database: Database | StoreExecutor) -> None:
        self._database = database
        self.stay_own()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._asked: dict[str, float] = {}
        self._waiting: dict[str, list[threading.Event]] = {}
        self._listener: Listener | None = None
        self._stop: Callable[[], object] = lambda: None

    # -- for workers -----------------------------------------------------------------

    def listen(self, callback: WakeCallback) -> Listener:
        """Subscribe to wake-ups, as :meth:`.Executor.listen`, and to questions."""
        self.stay_own()

        def hear(name: str | None) -> None:
            if not self.hear(name):
                callback(name)

        return self._database.listen(hear)

    def answers(
        self, updates: Sequence[JobUpdate], refused: Collection[str]
    ) -> list[str]:
        """Return the wake-ups that announce outcomes, without the ``refused`` ones."""
        if not self._asked:
            return []
        return [
            _ENDED + each.job.id
            for each in updates
            if each.job.id in self._asked
            and each.status.is_final
            and each.job.id not in refused
        ]

    def hear(self, name: str | None) -> bool:
        """Handle a message; return whether it was a question or an answer."""
        if name is None:  # messages may have been missed
            with self._lock:
                for ended in chain.from_iterable(self._waiting.values()):
                    ended.set()
            return False
        sign, job_id = name[:1], name[1:]
        with self._lock:
            if sign == _ASKED:
                now = time.monotonic()
                kept = {i: until for i, until in self._asked.items() if until > now}
                self._asked = {**kept, job_id: now + REMEMBERED_S}
            elif sign == _ENDED:
                for ended in self._waiting.get(job_id, ()):
                    ended.set()
        return sign in (_ASKED, _ENDED)

    # -- for waiters -----------------------------------------------------------------

    def wait(
        self, job_id: str, has_ended: Callable[[], bool], timeout_s: float
    ) -> bool:
        """Wait for the end of a job; return whether ``has_ended`` has seen it."""
        ends_at = time.monotonic() + timeout_s
        if has_ended():
            return True
        self.stay_own()
        self._start_listening()
        look_s = FIRST_LOOK_S
        with self._event_of(job_id) as ended:
            is_woken = False
            while (left_s := ends_at - time.monotonic()) > 0:
                if not is_woken:
                    self._ask(_ASKED + job_id)
                is_woken = ended.wait(min(left_s, look_s))
                ended.clear()
                if has_ended():
                    return True
                if not is_woken:
                    look_s = min(2 * look_s, SLOWEST_LOOK_S)
        return False

    def _ask(self, question: str) -> None:
        self.hear(question)  # a worker of this process
        listener = self._listener
        if listener is not None:
            with contextlib.suppress(StorageError), one_call():  # polling finds the end
                listener.notify(question)

    @contextlib.contextmanager
    def _event_of(self, job_id: str) -> Iterator[threading.Event]:
        ended = threading.Event()
        with self._lock:
            self._waiting.setdefault(job_id, []).append(ended)
        try:
            yield ended
        finally:
            with self._lock:
                self._waiting[job_id].remove(ended)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]

    def _start_listening(self) -> None:
        with self._starting:
            if self._listener is not None:
                return
            # The listening thread must not keep an application's storage alive.
            reference = weakref.ref(self)

            def hear(name: str | None) -> None:
                if (ends := reference()) is not None:
                    ends.hear(name)

            with contextlib.suppress(StorageError):  # polling remains
                self._listener = self._database.listen(hear)
                self._stop = weakref.finalize(self, self._listener.stop)

    def close(self) -> None:
        """Stop listening; a later wait starts again."""
        self.stay_own()
        with self._starting:
            stop, self._stop, self._listener = self._stop, lambda: None, None
        stop()
