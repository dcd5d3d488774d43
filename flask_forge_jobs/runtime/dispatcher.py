"""The dispatcher: the one thread of a worker that writes outcomes and claims jobs.

No timer delays an outcome. While a transaction runs, the next batch collects, so an
idle worker writes within one round trip and a busy one fills its batches. With nothing
to claim, it sleeps until a wake-up, the next scheduled job, the next time limit or the
next poll.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

from flask_forge_jobs.errors import SchemaTooNewError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.model.run_end import CancelReason, JobUpdate
from flask_forge_jobs.runtime.outcomes import OutcomeWriter
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.service import FIRST_S, LONGEST_S, Watch
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.runtime.state import WorkerState
from flask_forge_jobs.storage.database import NO_FAULT_OF_ROWS
from flask_forge_jobs.storage.jobs.queue import JobQueue

logger = get_logger(__name__)

# Bounds the delay of a job whose wake-up was lost.
POLL_WITHOUT_PUSH_S = 0.5
POLL_WITH_PUSH_S = 5.0
# Prefetched jobs that have not started by then go back to the queue.
GIVE_BACK_AFTER_S = 0.25
LONGEST_ROUND_S = 300.0  # more than all retries of an unreachable database take
_QUEUE_NAME = attrgetter("queue_name")


class TimeLimits:
    """Cancels runs past their time limit, and frees the slot if they do not stop.

    A run gets ``cancel_grace_s`` to stop, or ``stop_limit_s(job)`` if that is longer.
    """

    def __init__(
        self,
        state: WorkerState,
        pool: SlotPool,
        *,
        stop_limit_s: Callable[[ClaimedJob], float],
        cancel_grace_s: float,
    ) -> None:
        self._state = state
        self._pool = pool
        self._stop_limit_s = stop_limit_s
        self._cancel_grace_s = cancel_grace_s

    def next_look(self) -> float | None:
        """Return the monotonic time of the next thing to enforce, or None."""
        found: float | None = None
        for execution in self._state.running():
            moment = execution.abandons_at or execution.stops_at
            if moment is not None and (found is None or moment < found):
                found = moment
        return found

    def enforce(self, now: float) -> None:
        """Stop the runs that are past their limit."""
        for execution in self._state.running():
            if execution.stops_at is not None and now >= execution.stops_at:
                self._enforce(execution, now)

    def _enforce(self, execution: Execution, now: float) -> None:
        job = execution.job
        if execution.abandons_at is None:
            # An isolated task first ends its process, and then returns its outcome.
            grace_s = max(self._cancel_grace_s, self._stop_limit_s(job))
            execution.abandons_at = now + grace_s
            execution.token.cancel(CancelReason.TIMEOUT)
            return
        is_late = now >= execution.abandons_at
        if is_late and self._pool.abandon(execution, Failed("timed out")):
            kind = one_line(job.kind)
            logger.error("job %s (%s) ignores its time limit", job.id, kind)


class Dispatcher:
    """Keeps the slots fed and the outcomes written."""

    def __init__(
        self,
        jobs: JobQueue,
        state: WorkerState,
        pool: SlotPool,
        writer: OutcomeWriter,
        time_limits: TimeLimits,
    ) -> None:
        self._jobs = jobs
        self._state = state
        self._pool = pool
        self._writer = writer
        self._time_limits = time_limits
        self._clock = state.clock
        self._ends_at: float | None = None
        self._failed_at = 0.0
        self._is_failing = False
        self._watch = Watch(self._clock, LONGEST_ROUND_S)
        self._is_shut_out = False
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

    def finish(self, timeout_s: float) -> bool:
        """Write the last outcomes and end the thread; return whether all was stored.

        Retries a failing database for ``timeout_s`` seconds.
        """
        self._ends_at = self._clock.monotonic() + timeout_s
        self._state.signal.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._state.has_unwritten

    # -- the loop --------------------------------------------------------------------

    def _run(self) -> None:
        signal = self._state.signal
        while self._ends_at is None or not self._is_over(self._ends_at):
            try:
                signal.wait(self._pause_s())
                signal.clear()
                with self._watch:
                    if self._round():
                        self._note_success()
            except StorageError as error:
                self._note_failure(error)
            except BaseException:  # even SystemExit must not end the thread
                logger.exception("the dispatcher failed; trying again")
                self._rest()
                signal.wait(FIRST_S)

    def _is_over(self, ends_at: float) -> bool:
        is_late = self._is_shut_out or self._clock.monotonic() >= ends_at
        return is_late or not self._state.has_unwritten

    def _note_success(self) -> None:
        self._watch.note_success()
        self._state.unanswered_since = None
        if self._state.backoff.pause_s:
            self._state.backoff.reset()
        if self._is_failing:
            logger.warning("storage works again")
        self._is_failing = False

    def _note_failure(self, error: StorageError) -> None:
        if isinstance(error, SchemaTooNewError):
            self._is_shut_out = self._state.is_outdated = True
        pause_s = self._rest()
        if not self._is_failing:
            logger.warning("storage failed, retrying in %s s: %s", pause_s, error)
        self._is_failing = True

    def _rest(self) -> float:
        self._failed_at = self._clock.monotonic()
        return self._state.backoff.fail()

    def _rests_until(self) -> float:
        """When to try the storage again; soon while the process is stopping."""
        longest_s = LONGEST_S if self._ends_at is None else FIRST_S
        return self._failed_at + min(self._state.backoff.pause_s, longest_s)

    def _pause_s(self) -> float:
        state, now = self._state, self._clock.monotonic()
        moments = [now + POLL_WITH_PUSH_S]
        if self._ends_at is not None:
            moments.append(self._ends_at)
        limit_at = self._time_limits.next_look()
        if limit_at is not None:
            moments.append(limit_at)
        if state.backoff.pause_s:
            moments.append(self._rests_until())
            return max(min(moments) - now, 0.0)
        with state.lock:
            if state.is_claiming:
                moments.append(state.schedule.next_look())
            for queue in state.queues.values():
                if queue.buffer:
                    moments.append(now + GIVE_BACK_AFTER_S)
                    break
        return max(min(moments) - now, 0.0)

    def _round(self) -> bool:
        """Do one round; return False while backing off from a failing storage."""
        now = self._clock.monotonic()
        self._time_limits.enforce(now)  # even while the storage fails
        if self._state.backoff.pause_s and now < self._rests_until():
            return False
        if self._state.unanswered_since is None:
            self._state.unanswered_since = now
        self._give_back_stale(now - GIVE_BACK_AFTER_S)
        writing = self._writer.collect()
        demand = self._demand(now)
        if writing or demand:
            self._exchange(writing, demand, now)
        else:
            self._learn_next_due(now)
        return True

    def _give_back_stale(self, claimed_before: float) -> None:
        """Give back prefetched jobs that did not start; stop prefetching there."""
        for name, queue in self._state.queues.items():
            with self._state.lock:
                first = queue.buffer[0] if queue.buffer else None
                if first is None or first.claimed_at >= claimed_before:
                    continue
                queue.prefetch.reset()
            self._state.give_back_waiting(name)

    def _demand(self, now: float) -> dict[str, int]:
        state = self._state
        pause_s = POLL_WITH_PUSH_S if state.is_pushing() else POLL_WITHOUT_PUSH_S
        with state.lock:
            if not state.is_claiming:
                return {}
            state.schedule.advance(now, pause_s)
            if not state.schedule.maybe_ready:
                return {}
        if not state.may_claim():
            return {}
        return self._pool.demand(state.schedule.maybe_ready)

    def _exchange(
        self, writing: Sequence[JobUpdate], demand: Mapping[str, int], now: float
    ) -> None:
        state, schedule = self._state, self._state.schedule
        with state.lock:
            promote = schedule.is_time_to_promote(now)
            # A wake-up from here on announces jobs that this claim may not see.
            schedule.maybe_ready.difference_update(demand)
            state.claims.begin()
        try:
            batch = self._jobs.exchange(
                state.worker_id, writing, demand, promote=promote
            )
        except BaseException as error:
            with state.lock:
                state.claims.end()
                schedule.maybe_ready.update(demand)
            for update in writing:  # it may have been stored nevertheless
                update.was_tried = True
            if not isinstance(error, NO_FAULT_OF_ROWS):
                self._writer.write_singly(writing)
            raise
        if batch.claimed:
            self._take_in(batch.claimed, now)
        if writing:
            self._writer.note_written(writing, batch.refused)
        claimed = Counter(map(_QUEUE_NAME, batch.claimed))
        with state.lock:
            state.claims.end()
            promoted = promote and bool(demand)
            schedule.note_exchange(self._clock.monotonic(), writing, promoted=promoted)
            has_more = bool(state.ended or schedule.maybe_ready - demand.keys())
            for name, count in demand.items():
                if claimed[name] >= count:  # it may have more
                    schedule.maybe_ready.add(name)
                    has_more = True
        if has_more:
            state.signal.set()  # there is more to write or to claim

    def _take_in(self, jobs: Sequence[ClaimedJob], asked_at: float) -> None:
        self._tell_earlier_runs({job.id for job in jobs})
        if self._state.may_claim() and asked_at >= self._state.returned_at:
            self._pool.feed(jobs)
        else:  # the lease ran out during the claim
            now = self._clock.monotonic()
            self._state.give_back([Execution(job, now) for job in jobs])

    def _tell_earlier_runs(self, job_ids: set[str]) -> None:
        """Stop earlier runs of these jobs that still go on here.

        The next heartbeat would stop them; until then the job would run twice.
        """
        for execution in self._state.running():
            if execution.job.id in job_ids:
                execution.token.cancel(CancelReason.LOST)

    def _learn_next_due(self, now: float) -> None:
        state = self._state
        with state.lock:
            names = state.schedule.to_ask(now) if state.is_claiming else set()
        if not names and self._is_failing:
            # Nobody knows that the storage works again unless it is asked.
            names = set(state.queue_names)
        if not names:
            return
        wait_s = self._jobs.next_due_in_s(sorted(names))
        due_at = None if wait_s is None else self._clock.monotonic() + wait_s
        with state.lock:
            state.schedule.learn_due(due_at)
