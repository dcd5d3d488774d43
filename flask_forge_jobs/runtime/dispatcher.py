"""The dispatcher, one a process: writes what has ended, claims what there is room for.

No timer delays an outcome. While one transaction is under way the next batch gathers,
so an idle worker answers within one round trip and a busy one fills its batches. Who
has nothing to claim sleeps until it is woken, until the next job that waits for its
time is due, or until the next poll, whichever comes first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.jobs import ClaimedJob
from flask_forge_jobs.model.outcomes import Failed, Outcome, Released, Settlement
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.settling import Settler
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.storage.job_queue import JobQueue
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.tasks.cancellation import CancelReason

logger = logging.getLogger(__name__)

# How long a wake-up that was lost may go unnoticed.
POLL_WITHOUT_PUSH_S = 0.5
POLL_WITH_PUSH_S = 5.0
# How often a busy worker looks for jobs whose time has come.
PROMOTE_PERIOD_S = 0.25
# A worker that has had nothing to do for this long asks when the next one is due.
IDLE_AFTER_S = 0.02
# Jobs claimed ahead that have not started by then go back to the queue.
GIVE_BACK_AFTER_S = 0.25
FIRST_BACK_OFF_S = 1.0
LONGEST_BACK_OFF_S = 30.0


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
        self._owner = owner
        self._queue_names = tuple(queue_names)
        self._settler = settler
        self._recorder = recorder
        self._clock = clock
        self._cancel_grace_s = cancel_grace_s
        self._is_pushing = is_pushing
        self._may_claim = may_claim
        self._signal = threading.Event()
        self._hopeful = set(self._queue_names)
        self._unwritten: list[Settlement] = []
        self._returns: list[Execution] = []
        self._lock = threading.Lock()
        self._is_claiming = True
        self._ends_at: float | None = None
        # When the first job that waits for its time is due, in which queues.
        self._due_at: float | None = None
        self._due_covers: set[str] = set()
        self._idle_at = 0.0
        self._promote_at = 0.0
        self._poll_at = 0.0
        self._back_off_s = 0.0
        self._failed_at = 0.0
        self.refused_count = 0
        self._thread = threading.Thread(
            target=self._run, name="forge-jobs-dispatcher", daemon=True
        )

    # -- from other threads ----------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self, queue_name: str | None = None) -> None:
        """Look for work in a queue, or in all of them."""
        names = self._queue_names if queue_name is None else (queue_name,)
        names = tuple(name for name in names if name in self._queue_names)
        if not names:
            return  # every producer is heard, those of other queues too
        with self._lock:
            self._hopeful.update(names)
            self._due_covers.difference_update(names)
        self._signal.set()

    def outcome_waits(self) -> None:
        """Write the outcomes that the slots handed in."""
        if not self._signal.is_set():
            self._signal.set()

    def give_back(self, executions: Iterable[Execution]) -> None:
        """Return claimed jobs to their queue, the attempt unspent."""
        with self._lock:
            self._returns.extend(executions)
        self._signal.set()

    def give_back_stray(self, job_id: str, attempt: int) -> None:
        """Return a job that the database says is ours and nobody here knows of."""
        job = ClaimedJob(job_id, "", "", "", 0, 0, attempt, attempt, 0, "[]", None)
        self.give_back([Execution(job, 0.0)])

    def unwritten_ids(self) -> set[str]:
        """Return the jobs whose end is known here but not yet stored."""
        with self._lock:
            held = {settlement.job.id for settlement in self._unwritten}
            return held | {execution.job.id for execution in self._returns}

    def stop_claiming(self) -> None:
        """Claim no more and give back what has not started."""
        with self._lock:
            self._is_claiming = False
        self.give_back(self._pool.take_back())

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
        while True:
            self._signal.wait(self._pause_s())
            self._signal.clear()
            try:
                if self._round():
                    self._back_off_s = 0.0
            except StorageError as error:
                self._back_off(error)
            except Exception:
                logger.exception("the dispatcher failed; trying again")
                self._back_off(None)
            if self._is_over():
                return

    def _is_over(self) -> bool:
        if self._ends_at is None:
            return False
        return not self._has_more_to_write() or self._clock.monotonic() >= self._ends_at

    def _has_more_to_write(self) -> bool:
        with self._lock:
            return bool(self._unwritten or self._returns or self._pool.has_ended_runs)

    def _back_off(self, error: StorageError | None) -> None:
        doubled = max(self._back_off_s * 2, FIRST_BACK_OFF_S)
        self._back_off_s = min(doubled, LONGEST_BACK_OFF_S)
        self._failed_at = self._clock.monotonic()
        if error is not None:
            logger.warning(
                "storage failed, next try in %s s: %s", self._back_off_s, error
            )

    def _rests_until(self) -> float:
        """When the storage is tried again after it failed."""
        # A process that ends has no half minute to wait.
        longest_s = LONGEST_BACK_OFF_S if self._ends_at is None else FIRST_BACK_OFF_S
        return self._failed_at + min(self._back_off_s, longest_s)

    def _pause_s(self) -> float:
        now = self._clock.monotonic()
        moments = [now + POLL_WITH_PUSH_S]
        if self._ends_at is not None:
            moments.append(self._ends_at)
        if self._back_off_s:
            moments.append(self._rests_until())
        else:
            if self._is_claiming:
                moments.extend(self._next_looks())
            if self._pool.buffered:
                moments.append(now + GIVE_BACK_AFTER_S)
        for execution in self._pool.running():
            moment = execution.abandons_at or execution.stops_at
            if moment is not None:
                moments.append(moment)
        return max(min(moments) - now, 0.0)

    def _round(self) -> bool:
        """Do what there is to do; return False while the storage rests."""
        now = self._clock.monotonic()
        self._stop_overdue(now)  # whether or not anything can be stored
        if self._back_off_s and now < self._rests_until():
            return False
        self._collect(now)
        demand = self._demand(now)
        if self._unwritten or demand:
            self._exchange(demand, now)
        elif now >= self._idle_at:
            self._learn_next_due()
        return True

    def _next_looks(self) -> list[float]:
        """When to look for work although nothing wakes us."""
        moments = [self._poll_at]
        if self._due_at is not None:
            moments.append(self._due_at)
        with self._lock:
            if self._quiet_queues() - self._due_covers:
                moments.append(self._idle_at)
        return moments

    def _quiet_queues(self) -> set[str]:
        """Queues where only the passing of time brings work.

        Not those that are known to hold work for which there is no room here: while
        that lasts, a job that is due would have us look again and again.
        """
        return set(self._queue_names) - self._hopeful

    def _collect(self, now: float) -> None:
        """Gather everything that has to be written."""
        stale = self._pool.take_back(older_than=now - GIVE_BACK_AFTER_S)
        ended: list[tuple[Execution, Outcome]] = self._pool.take_ended()
        with self._lock:
            returns, self._returns = self._returns, []
            ended.extend((execution, Released()) for execution in (*stale, *returns))
            for execution, outcome in ended:
                settlement = self._settler.settle(execution, outcome)
                if settlement is not None:
                    self._unwritten.append(settlement)

    def _demand(self, now: float) -> dict[str, int]:
        with self._lock:
            if not self._is_claiming:
                return {}
            is_due = self._due_at is not None and now >= self._due_at
            if now >= self._poll_at or is_due:
                self._hopeful.update(self._queue_names)
                self._due_at = None
                self._due_covers.clear()
                self._promote_at = now
                pause_s = (
                    POLL_WITH_PUSH_S if self._is_pushing() else POLL_WITHOUT_PUSH_S
                )
                self._poll_at = now + pause_s
            if not self._hopeful or not self._may_claim():
                return {}
            return self._pool.demand(self._hopeful)

    def _exchange(self, demand: dict[str, int], now: float) -> None:
        promote = now >= self._promote_at
        with self._lock:
            # A wake-up from here on means work that this claim may not see.
            self._hopeful.difference_update(demand)
            writing = list(self._unwritten)
        try:
            exchange = self._jobs.exchange(
                self._owner, writing, demand, promote=promote
            )
        except BaseException as error:
            with self._lock:
                self._hopeful.update(demand)
            if not isinstance(error, (StorageUnavailableError, StorageBusyError)):
                self._replace_unstorable(writing)
            raise
        if promote and demand:
            self._promote_at = now + PROMOTE_PERIOD_S
        self._idle_at = self._clock.monotonic() + IDLE_AFTER_S
        claimed: dict[str, int] = {}
        for job in exchange.claimed:
            claimed[job.queue_name] = claimed.get(job.queue_name, 0) + 1
        with self._lock:
            del self._unwritten[: len(writing)]
            self._due_covers.difference_update(
                each.job.queue_name for each in writing if each.delay_s
            )
            # Who got all it asked for may find more.
            self._hopeful.update(n for n in demand if claimed.get(n, 0) >= demand[n])
            if self._is_claiming:
                self._pool.feed(exchange.claimed)
            else:  # the stop came while this claim was under way (D4)
                self._returns.extend(Execution(job, now) for job in exchange.claimed)
        if writing:
            self._recorder.ended(writing, exchange.refused)
        if exchange.refused:
            self.refused_count += len(exchange.refused)
            logger.warning("no longer ours, outcome dropped: %s", exchange.refused)
        if claimed or self._unwritten or self._returns or self._hopeful - demand.keys():
            self._signal.set()  # more of either, or the turn of a queue left out

    def _replace_unstorable(self, writing: Sequence[Settlement]) -> None:
        """Find the outcomes that the database will not take, for they hold up all.

        Raises:
            StorageError: It takes nothing at present, so no outcome is to blame.
        """
        self._jobs.heartbeat(self._owner, {})
        for settlement in writing:
            replaced: list[Settlement] = []
            try:
                refused = self._jobs.finish(self._owner, [settlement])
                self._recorder.ended([settlement], refused)
            except (StorageUnavailableError, StorageBusyError):
                raise
            except Exception:
                logger.exception("cannot store how job %s ended", settlement.job.id)
                replaced = self._settler.replacements(settlement)
            with self._lock:
                kept = [each for each in self._unwritten if each is not settlement]
                self._unwritten = kept + replaced

    def _learn_next_due(self) -> None:
        with self._lock:
            names = self._quiet_queues()
            if not self._is_claiming or names <= self._due_covers:
                return
            self._due_covers = set(names)
        wait_s = self._jobs.next_due_in_s(sorted(names))
        now = self._clock.monotonic()
        with self._lock:
            self._due_at = None if wait_s is None else now + wait_s

    def _stop_overdue(self, now: float) -> None:
        """Cancel runs past their time limit; take the slot if they will not stop."""
        for execution in self._pool.running():
            if execution.stops_at is None or now < execution.stops_at:
                continue
            if execution.abandons_at is None:
                execution.abandons_at = now + self._cancel_grace_s
                execution.token.cancel(CancelReason.TIMEOUT)
            elif now >= execution.abandons_at and self._pool.abandon(execution):
                job = execution.job
                logger.error("job %s (%s) ignores its time limit", job.id, job.kind)
                self._keep(execution, Failed("timed out"))

    def _keep(self, execution: Execution, outcome: Outcome) -> None:
        settlement = self._settler.settle(execution, outcome)
        if settlement is not None:
            with self._lock:
                self._unwritten.append(settlement)
