"""The dispatcher, one a process: writes what has ended, claims what there is room for.

No timer delays an outcome. While one transaction is under way the next batch gathers,
so an idle worker answers within one round trip and a busy one fills its batches. Who
has nothing to claim sleeps until it is woken, until the next job that waits for its
time is due, or until the next poll, whichever comes first.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import (
    SchemaTooNewError,
    StorageError,
)
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.jobs import ClaimedJob, RunId
from flask_forge_jobs.model.outcomes import Failed, Released
from flask_forge_jobs.runtime.backoff import FIRST_S, LONGEST_S, Backoff
from flask_forge_jobs.runtime.claims import ClaimsUnderWay
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.outbox import Outbox
from flask_forge_jobs.runtime.outlook import Outlook
from flask_forge_jobs.runtime.settling import Settler
from flask_forge_jobs.runtime.sifting import NO_FAULT_OF_OUTCOMES, Sifter
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.runtime.time_limits import TimeLimits
from flask_forge_jobs.runtime.watch import Watch
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.tasks.cancellation import CancelReason

logger = get_logger(__name__)

# How long a wake-up that was lost may go unnoticed.
POLL_WITHOUT_PUSH_S = 0.5
POLL_WITH_PUSH_S = 5.0
# Jobs claimed ahead that have not started by then go back to the queue.
GIVE_BACK_AFTER_S = 0.25
# How long a round may take: longer than a storage that is away is tried.
LONGEST_ROUND_S = 300.0


class Dispatcher:
    """Keeps the slots fed and the outcomes written.

    Args:
        jobs: The hot path of the storage.
        pool: The slots.
        owner: Owns the claimed jobs; the worker process.
        queue_names: The declared queues.
        settler: Turns outcomes into writes.
        recorder: Counts the runs whose end is stored.
        clock: For pauses and deadlines.
        cancel_grace_s: Seconds a timed-out task has to stop before its slot is taken.
        is_pushing: Whether wake-ups arrive by themselves.
        may_claim: Asked before every claim.
    """

    def __init__(
        self,
        jobs: JobQueue,
        pool: SlotPool,
        *,
        owner: str,
        queue_names: Sequence[str],
        settler: Settler,
        recorder: Recorder,
        clock: Clock,
        cancel_grace_s: float,
        is_pushing: Callable[[], bool],
        may_claim: Callable[[], bool],
    ) -> None:
        self._jobs = jobs
        self._pool = pool
        self.owner = owner
        self._queue_names = tuple(queue_names)
        self._settler = settler
        self._recorder = recorder
        self._clock = clock
        self._time_limits = TimeLimits(pool, cancel_grace_s)
        self._is_pushing = is_pushing
        self._may_claim = may_claim
        self._signal = threading.Event()
        self._outlook = Outlook(self._queue_names)
        self._lock = threading.Lock()
        self._outbox = Outbox(settler)
        self._sifter = Sifter(jobs, recorder, self._outbox, self._lock)
        self.claims = ClaimsUnderWay()
        self._is_claiming = True
        self._ends_at: float | None = None
        self._backoff = Backoff()
        self._failed_at = 0.0
        self._is_failing = False
        self._watch = Watch(clock, LONGEST_ROUND_S)
        self.refused_count = 0
        # Whether a newer package keeps this process from storing anything any more.
        self.is_shut_out = False
        self._thread = threading.Thread(
            target=self._run, name="forge-jobs-dispatcher", daemon=True
        )

    # -- from other threads ----------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self, queue_name: str | None = None) -> None:
        """Look for work in a queue, or in all of them.

        Whoever says the latter has just reached the database, so it is tried at once.
        """
        if queue_name is None:
            self._backoff.reset()
        names = self._queue_names if queue_name is None else (queue_name,)
        names = tuple(name for name in names if name in self._queue_names)
        if not names:
            return  # every producer is heard, those of other queues too
        with self._lock:
            self._outlook.hear(names)
        self._signal.set()

    def outcome_waits(self) -> None:
        """Write the outcomes that the slots handed in."""
        if not self._signal.is_set():
            self._signal.set()

    def give_back(self, executions: Iterable[Execution]) -> None:
        """Return claimed jobs to their queue, the attempt unspent."""
        with self._lock:
            self._outbox.give_back(executions)
        self._signal.set()

    def give_back_waiting(self, queue_name: str | None = None) -> None:
        """Return what has not started, of one queue or of all of them."""
        with self._lock:
            self._outbox.give_back(self._pool.take_back(queue_name=queue_name))
        self._signal.set()

    def release(self, jobs: Iterable[ClaimedJob]) -> None:
        """Give jobs back without the thread, which may have ended."""
        now = self._clock.monotonic()
        settled = [
            self._settler.settle(Execution(job, now), Released()) for job in jobs
        ]
        writing = [settlement for settlement in settled if settlement is not None]
        if not writing:
            return
        try:
            self._jobs.finish(self.owner, writing)
        except StorageError as error:
            ids = ", ".join(settlement.job.id for settlement in writing)
            logger.warning("not given back, runs after the lease: %s (%s)", ids, error)

    def runs(self) -> set[RunId]:
        """Return the runs known here, each from its claim until its end is stored."""
        with self._lock:
            return self._pool.runs() | self._outbox.runs()

    @property
    def is_stuck(self) -> bool:
        """Whether the thread hangs, or is gone although nobody has asked for it.

        Its jobs are renewed all the same, so nobody else would run them.
        """
        has_died = self._thread.ident is not None and not self._thread.is_alive()
        return self._watch.is_stuck or (has_died and self._ends_at is None)

    def stop_claiming(self) -> None:
        """Claim no more and give back what has not started."""
        with self._lock:
            self._is_claiming = False
        self.give_back_waiting()

    def finish(self, timeout_s: float) -> bool:
        """Write the last outcomes and end the thread; return whether all was stored.

        Args:
            timeout_s: Seconds for which a storage that fails is tried again.
        """
        self._ends_at = self._clock.monotonic() + timeout_s
        self._signal.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._has_more_to_write()

    # -- the loop --------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_over():
            try:
                self._signal.wait(self._pause_s())
                self._signal.clear()
                with self._watch.turn():
                    if self._round():
                        self._note_success()
                        self._watch.note_success()
            except StorageError as error:
                self._note_failure(error)
            except BaseException:  # even SystemExit ends a round only
                logger.exception("the dispatcher failed; trying again")
                self._rest()
                self._signal.wait(FIRST_S)

    def _is_over(self) -> bool:
        if self._ends_at is None:
            return False
        is_late = self.is_shut_out or self._clock.monotonic() >= self._ends_at
        return is_late or not self._has_more_to_write()

    def _has_more_to_write(self) -> bool:
        with self._lock:
            return bool(self._outbox or self._pool.has_ended_runs)

    def _note_success(self) -> None:
        self._backoff.reset()
        if self._is_failing:
            logger.warning("storage works again")
        self._is_failing = False

    def _note_failure(self, error: StorageError) -> None:
        if isinstance(error, SchemaTooNewError):
            self.is_shut_out = True
        pause_s = self._rest()
        if not self._is_failing:
            logger.warning("storage failed, next try in %s s: %s", pause_s, error)
        self._is_failing = True

    def _rest(self) -> float:
        self._failed_at = self._clock.monotonic()
        return self._backoff.fail()

    def _rests_until(self) -> float:
        """When the storage is tried again; a process that ends waits for no minute."""
        longest_s = LONGEST_S if self._ends_at is None else FIRST_S
        return self._failed_at + min(self._backoff.pause_s, longest_s)

    def _pause_s(self) -> float:
        now = self._clock.monotonic()
        moments = [now + POLL_WITH_PUSH_S]
        if self._ends_at is not None:
            moments.append(self._ends_at)
        if self._backoff.pause_s:
            moments.append(self._rests_until())
        else:
            if self._is_claiming:
                with self._lock:
                    moments.extend(self._outlook.next_looks())
            if self._pool.buffered:
                moments.append(now + GIVE_BACK_AFTER_S)
        moments.extend(self._time_limits.next_looks())
        return max(min(moments) - now, 0.0)

    def _round(self) -> bool:
        """Do what there is to do; return False while the storage rests."""
        now = self._clock.monotonic()
        with self._lock:  # whether or not anything can be stored
            for execution in self._time_limits.enforce(now):
                self._outbox.put(execution, Failed("timed out"))
        if self._backoff.pause_s and now < self._rests_until():
            return False
        self._collect(now)
        demand = self._demand(now)
        if self._outbox.has_unwritten or demand:
            self._exchange(demand, now)
        else:
            self._learn_next_due(now)
        return True

    def _collect(self, now: float) -> None:
        """Gather everything that has to be written."""
        with self._lock:
            for execution, outcome in self._pool.take_ended():
                self._outbox.put(execution, outcome)
            stale = self._pool.take_back(older_than=now - GIVE_BACK_AFTER_S)
            self._outbox.give_back(stale)
            self._outbox.settle_returns()

    def _demand(self, now: float) -> dict[str, int]:
        with self._lock:
            if not self._is_claiming:
                return {}
            pause_s = POLL_WITH_PUSH_S if self._is_pushing() else POLL_WITHOUT_PUSH_S
            self._outlook.look_around(now, pause_s)
            hopeful = self._outlook.hopeful
            if not hopeful or not self._may_claim():
                return {}
            return self._pool.demand(hopeful)

    def _exchange(self, demand: dict[str, int], now: float) -> None:
        outlook = self._outlook
        with self._lock:
            promote = outlook.is_time_to_promote(now)
            # A wake-up from here on means work that this claim may not see.
            outlook.hopeful.difference_update(demand)
            self.claims.begin()
            writing = self._outbox.batch()
        try:
            exchange = self._jobs.exchange(self.owner, writing, demand, promote=promote)
        except BaseException as error:
            with self._lock:
                self.claims.end()
                self._outbox.note_failure(writing)
                outlook.hopeful.update(demand)
            if not isinstance(error, NO_FAULT_OF_OUTCOMES):
                self._sifter.sift(self.owner, writing)
            raise
        with self._lock:
            self.claims.end()
            self._outbox.note_written(writing)
            outlook.note_exchange(
                self._clock.monotonic(), promoted=promote and bool(demand)
            )
            outlook.forget_due(each.job.queue_name for each in writing if each.delay_s)
            self._take_in(exchange.claimed, demand, now)
        if writing:
            self._recorder.ended(writing, exchange.refused)
        if exchange.refused:
            self.refused_count += len(exchange.refused)
            logger.warning("no longer ours, outcome dropped: %s", exchange.refused)
        has_more = exchange.claimed or self._outbox
        if has_more or outlook.hopeful - demand.keys():
            self._signal.set()  # more of either, or the turn of a queue left out

    def _take_in(
        self, jobs: Sequence[ClaimedJob], demand: Mapping[str, int], now: float
    ) -> None:
        """Hand claimed jobs to the slots; the lock is held."""
        claimed = Counter(job.queue_name for job in jobs)
        if jobs:
            self._tell_earlier_runs({job.id for job in jobs})
        # Who got all it asked for may find more.
        self._outlook.hopeful.update(n for n in demand if claimed[n] >= demand[n])
        if self._is_claiming and (not jobs or self._may_claim()):
            self._outbox.give_back(self._pool.feed(jobs))
        else:  # the stop, or the end of the lease, came while it was under way
            self._outbox.give_back(Execution(job, now) for job in jobs)

    def _tell_earlier_runs(self, job_ids: set[str]) -> None:
        """Tell runs of these jobs that go on here that they have lost them.

        They would hear of it at the next beat; until then the job would run twice here.
        """
        for execution in self._pool.running():
            if execution.job.id in job_ids:
                execution.token.cancel(CancelReason.LOST)

    def _learn_next_due(self, now: float) -> None:
        with self._lock:
            names = self._outlook.to_ask(now) if self._is_claiming else set()
        if not names:
            return
        wait_s = self._jobs.next_due_in_s(sorted(names))
        due_at = None if wait_s is None else self._clock.monotonic() + wait_s
        with self._lock:
            self._outlook.learn_due(due_at)
