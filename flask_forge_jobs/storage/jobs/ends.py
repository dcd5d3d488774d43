"""What the end of a job sets off: waiting callers hear of it, a follow-up is stored.

A waiter sends the job's id to every worker. A worker remembers it for a while and
announces the end once it is stored; jobs that nobody asks for cost nothing. Polling, at
least once a second, finds the end when a message is lost. Both messages travel as
wake-ups; queue names cannot begin with their first characters.

A worker that ends a run knows the task and its follow-up. A web process that cancels a
job, or a reaper that gives it up, may not know the task, so each worker declares the
follow-ups of its code at start.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import EndedJob, FollowUp, FollowUps
from flask_forge_jobs.model.queues import DEFAULT_MAX_QUEUES, DEFAULT_MAX_WORKERS
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.reentry import one_call
from flask_forge_jobs.storage.columns import new_row
from flask_forge_jobs.storage.database import (
    Executor,
    Listener,
    Transaction,
    WakeCallback,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.units import when_stored

_ASKED, _ENDED = "#", "%"
# Waiters repeat the question far more often, also for workers that start later.
REMEMBERED_S = 30.0
# The job may end before a worker gets the question, so the first polls are quick.
FIRST_LOOK_S = 0.02
SLOWEST_LOOK_S = 1.0


class JobEnds(PerProcess):
    """Tells waiters which jobs have ended."""

    def __init__(self, database: Executor) -> None:
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
                for told in chain.from_iterable(self._waiting.values()):
                    told.set()
            return False
        sign, job_id = name[:1], name[1:]
        with self._lock:
            if sign == _ASKED:
                now = time.monotonic()
                kept = {i: until for i, until in self._asked.items() if until > now}
                self._asked = {**kept, job_id: now + REMEMBERED_S}
            elif sign == _ENDED:
                for told in self._waiting.get(job_id, ()):
                    told.set()
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
        with self._told_of(job_id) as told:
            is_told = False
            while (left_s := ends_at - time.monotonic()) > 0:
                if not is_told:
                    self._ask(_ASKED + job_id)
                is_told = told.wait(min(left_s, look_s))
                told.clear()
                if has_ended():
                    return True
                if not is_told:
                    look_s = min(2 * look_s, SLOWEST_LOOK_S)
        return False

    def _ask(self, question: str) -> None:
        self.hear(question)  # a worker of this process
        listener = self._listener
        if listener is not None:
            with contextlib.suppress(StorageError), one_call():  # polling finds the end
                listener.tell(question)

    @contextlib.contextmanager
    def _told_of(self, job_id: str) -> Iterator[threading.Event]:
        told = threading.Event()
        with self._lock:
            self._waiting.setdefault(job_id, []).append(told)
        try:
            yield told
        finally:
            with self._lock:
                self._waiting[job_id].remove(told)
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


Made = Sequence[tuple[str, str]]
# A batch of large jobs can have hundreds of MB of payloads: more than a server stores
# within the time limit of a transaction, and held several times over by the process.
MOST_AT_ONCE = 8 * 1024 * 1024


class FollowUpStore:
    """Declares and stores follow-up jobs."""

    def __init__(
        self,
        database: Executor,
        ids: UlidGenerator,
        recorder: Recorder | None = None,
        most_queues: int = DEFAULT_MAX_QUEUES,
    ) -> None:
        self._database = database
        self._ids = ids
        self._recorder = recorder
        self._most_queues = most_queues

    def declare(self, application: str, declared: Mapping[str, FollowUps]) -> None:
        """Replace what an application has declared, a follow-up per kind and ending."""
        rows = [
            (kind, ending.value, *follow_up)
            for kind, follow_ups in sorted(declared.items())
            for ending, follow_up in sorted(follow_ups.items())
        ]
        columns = ("of_kind", "ending", *FollowUp._fields)

        stored = self._database.read(
            lambda tx: tx.all("declared_follow_ups", application=application)
        )
        if [tuple(row) for row in stored] == rows:
            return

        def work(transaction: Transaction) -> None:
            transaction.run("forget_follow_ups", application=application)
            named = encode_rows(dict(zip(columns, row, strict=True)) for row in rows)
            transaction.run("declare_follow_ups", application=application, rows=named)

        self._database.write(work)

    def in_pieces(self, ids: Sequence[str]) -> list[list[str]]:
        """Split jobs that may end together, for a transaction each.

        What follows the jobs of one piece has up to :data:`MOST_AT_ONCE` characters of
        their payloads, unless the piece is a single job.
        """
        if len(ids) <= 1:
            return [list(ids)]
        names = encode_names("job_id", ids)
        rows = self._database.read_one("followed_up_sizes", rows=names)
        sizes: dict[str, int] = dict(rows)
        pieces: list[list[str]] = [[]]
        total = 0
        for job_id in ids:
            size = sizes.get(job_id, 0)
            if total + size > MOST_AT_ONCE and total:
                pieces.append([])
                total = 0
            pieces[-1].append(job_id)
            total += size
        return pieces

    def store_declared(
        self, transaction: Transaction, ids: Sequence[str], ending: Ending
    ) -> Made:
        """Store what follows jobs that end in this transaction; see :meth:`store`."""
        if not ids:
            return ()
        names = encode_names("job_id", ids)
        rows = transaction.all("followed_up", rows=names, ending=ending.value)
        return self.store(
            transaction,
            [
                FollowUp(*row[6:]).job(
                    EndedJob(
                        id=row[0],
                        kind=row[1],
                        queue_name=row[2],
                        arguments=None,
                        attempts=row[4],
                        error=row[5],
                        ending=ending.value,
                    ),
                    row[3],
                )
                for row in rows
            ],
        )

    def store(self, transaction: Transaction, jobs: Sequence[NewJob]) -> Made:
        """Store jobs, whatever their queue's bound, and wake its workers.

        Returns queue and kind of each, for :meth:`count` after the commit.
        """
        if not jobs:
            return ()
        ids = self._ids.new_many(len(jobs))
        for queue_name in sorted({job.queue for job in jobs}):
            transaction.defer(
                "ensure_queue",
                name=queue_name,
                max_workers=DEFAULT_MAX_WORKERS,
                most=self._most_queues,
            )
            transaction.wake(queue_name)
        now_us = int(transaction.all("now")[0][0])
        rows = (
            new_row(job, job_id, now_us, now_us)
            for job, job_id in zip(jobs, ids, strict=True)
        )
        transaction.copy_rows("append_jobs", rows)
        return [(job.queue, job.kind) for job in jobs]

    def count(self, made: Made, cancelled: Made = ()) -> None:
        """Count jobs that were stored, and waiting ones that a user cancelled."""
        if self._recorder is None:
            return
        if made:
            when_stored(self._recorder.enqueued_many, made)
        if cancelled:
            when_stored(self._recorder.cancelled_many, cancelled)
