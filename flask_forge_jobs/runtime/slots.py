"""The slots: threads that run jobs, fed from memory.

A slot thread hands in its outcome and takes the next job under one lock, so a job costs
no database call of its own. Threads start when they are first needed. A run that does
not stop in time is *abandoned*: its slot goes to a new thread, and whatever the old one
still returns is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.outcomes import Failed, Outcome, Released, Snooze
from flask_forge_jobs.runtime.execution import Execution, Runner
from flask_forge_jobs.runtime.local_queue import LocalQueue, may_wait
from flask_forge_jobs.runtime.state import WorkerState
from flask_forge_jobs.tasks.failures import describe_failure, fit, mask_known

logger = get_logger(__name__)

# For how long nothing is claimed ahead once a job that may not wait had to go back.
DIRECT_S = 1.0


class Crew:
    """Threads that start when they are first needed, behind the lock of the state.

    Args:
        state: Says how many of them work at once at most; fewer when no more can start.
        work: What each of them runs.
    """

    def __init__(self, state: WorkerState, work: Callable[[], None]) -> None:
        self.idle = 0
        self._state = state
        self._work = work
        self._threads: set[threading.Thread] = set()
        # Stuck in runs that were abandoned.
        self._lost: set[int] = set()
        self._started_count = 0

    def staff(self, count: int) -> None:
        """Start what is missing for so many more runs; lost threads count no longer."""
        for _ in range(count - self.idle):
            living = len(self._threads) - len(self._lost)
            if living >= self._state.most_runs:
                return
            try:
                self._start()
            except RuntimeError:
                # Claim no more than what can run; what is here already goes back.
                self._state.most_runs = max(living, 1)
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
        """Note that the calling thread ends."""
        thread = threading.current_thread()
        self._threads.discard(thread)
        self._lost.discard(threading.get_ident())

    def threads(self) -> list[threading.Thread]:
        """Return those that have not ended."""
        return list(self._threads)


class SlotPool:
    """Slot threads of one worker process, shared by its queues."""

    def __init__(self, state: WorkerState, runner: Runner) -> None:
        self._state = state
        self._order = list(state.queue_names)
        self._runner = runner
        self._clock = state.clock
        self._work = threading.Condition(state.lock)
        self._quiet = threading.Condition(state.lock)
        self._crew = Crew(state, self._run)
        self._running = 0
        self._closing = False
        self._direct_until = 0.0
        self.abandoned_count = 0
        self.dropped_count = 0

    # -- what the dispatcher asks ----------------------------------------------------

    def set_limit(self, queue_name: str, limit: int) -> None:
        """Set how many jobs of a queue may run at once in this process."""
        with self._state.lock:
            self._state.queues[queue_name].limit = limit
            self._crew.staff(self._startable())
            self._work.notify_all()

    def demand(self, names: Container[str]) -> dict[str, int]:
        """Return how many more jobs of each queue there is room for.

        Free slots are shared between the queues in turn; on top comes what is likely to
        start within the horizon of the prefetch.
        """
        may_prefetch = self._clock.monotonic() >= self._direct_until
        with self._state.lock:
            most = self._state.most_runs
            wanted: dict[str, int] = {}
            asked = [name for name in self._order if name in names]
            free = self._free_threads()
            # More waits here than can start: quick jobs, so a thread is soon free, and
            # a queue with less than its share of them must not wait for the others.
            fair = max(most // max(len(asked), 1), 1)
            share = fair if free < 0 else 0
            for name in asked:
                queue = self._state.queues[name]
                now = min(queue.room, max(free, 0))
                free -= now
                later = queue.ahead(most, share) if may_prefetch else 0
                if now + later > 0:
                    wanted[name] = now + later
            # The queue that came first comes last next time.
            self._order.append(self._order.pop(0))
            return wanted

    def _free_threads(self) -> int:
        """How many threads have neither a run nor a claimed job that waits for them."""
        free = self._state.most_runs - self._running
        for queue in self._state.queues.values():
            free -= len(queue.buffer)
        return free

    def feed(self, jobs: Iterable[ClaimedJob]) -> None:
        """Take claimed jobs; they start as slots become free.

        Those that may not wait and that there is no slot for go back, and after a stop
        all of them. When one that may not wait has to go back, nothing is claimed ahead
        for a second: the next slots go to what is first in its queue, which is that
        job, and not to others that were claimed meanwhile.
        """
        now = self._clock.monotonic()
        count = 0
        with self._state.lock:
            for job in jobs:
                queue = self._state.queues[job.queue_name]
                queue.prefetch.learn_size(len(job.payload))  # JSON in ASCII
                execution = Execution(job, now, timeout_s=self._runner.timeout_of(job))
                if self._has_to_go_back(queue, job, now):
                    self._state.ended.append((execution, Released()))
                    continue
                queue.buffer.append(execution)
                count += 1
            if count:
                self._crew.staff(self._startable())
                self._work.notify(count)

    def _has_to_go_back(self, queue: LocalQueue, job: ClaimedJob, now: float) -> bool:
        if not self._state.is_claiming:
            return True
        if may_wait(job) or (queue.room > 0 and self._free_threads() > 0):
            return False
        self._direct_until = now + DIRECT_S
        return True

    def abandon(self, execution: Execution, outcome: Outcome) -> bool:
        """Free the slot of a run that will not stop; what it returns will be dropped.

        Returns:
            False when the run has just ended by itself.
        """
        with self._state.lock:
            queue = self._state.queues[execution.job.queue_name]
            if queue.running.get(execution.slot) is not execution:
                return False
            execution.is_abandoned = True
            queue.abandon(execution)
            self._state.ended.append((execution, outcome))
            self._note_one_less()
            self.abandoned_count += 1
            self._crew.lose(execution.thread_id)
            self._crew.staff(self._startable())
            # Only its queue was full: an idle thread can take what waits there.
            self._work.notify()
        self._state.signal.set()
        return True

    def wait_until_quiet(self, timeout_s: float) -> bool:
        """Wait until nothing runs; return whether that came true in time."""
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._running, timeout_s)

    # -- threads ---------------------------------------------------------------------

    def _startable(self) -> int:
        """How many buffered jobs could start now."""
        count = 0
        for queue in self._state.queues.values():
            count += queue.startable
        return min(count, self._state.most_runs - self._running)

    def _run(self) -> None:
        try:
            execution = self._next(None, None)
            while execution is not None:
                outcome = self._runner.run(execution)
                execution = self._next(execution, outcome)
        except BaseException as error:
            logger.exception("a slot thread has ended; another one takes its place")
            text = fit(describe_failure(error), mask_known)
            self._replace_thread(Failed(text))

    def _replace_thread(self, outcome: Outcome) -> None:
        """End the calling thread, and the run that it leaves."""
        ident = threading.get_ident()
        with self._state.lock:
            for queue in self._state.queues.values():
                for execution in list(queue.running.values()):
                    if execution.thread_id == ident:
                        self._hand_in(execution, outcome)
            self._crew.leave()
            self._crew.staff(self._startable())

    def _next(
        self, ended: Execution | None, outcome: Outcome | None
    ) -> Execution | None:
        """Hand in an outcome and wait for the next job; None ends the thread."""
        with self._state.lock:
            if ended is not None and outcome is not None:
                if ended.is_abandoned:
                    self.dropped_count += 1
                    self._crew.leave()
                    logger.warning("job %s ended after it was abandoned", ended.job.id)
                    return None
                self._hand_in(ended, outcome)
            while True:
                execution = self._pick()
                if execution is not None:
                    return execution
                if self._closing:
                    self._crew.leave()
                    return None
                self._crew.idle += 1
                try:
                    self._work.wait()
                finally:
                    self._crew.idle -= 1

    def _hand_in(self, ended: Execution, outcome: Outcome) -> None:
        queue = self._state.queues[ended.job.queue_name]
        queue.leave(ended)
        self._note_one_less()
        ended.ended_at = self._clock.monotonic()
        if not isinstance(outcome, Snooze):  # which tells nothing of how long runs take
            queue.prefetch.learn(ended.ended_at - ended.started_at)
        self._state.ended.append((ended, outcome))
        if not self._state.signal.is_set():
            self._state.signal.set()

    def _note_one_less(self) -> None:
        self._running -= 1
        if not self._running:
            self._quiet.notify_all()

    def _pick(self) -> Execution | None:
        """Take the next job whose queue has a slot."""
        if self._running >= self._state.most_runs:
            return None
        for name in self._order:
            queue = self._state.queues[name]
            if queue.startable:
                execution = queue.start_next()
                execution.thread_id = threading.get_ident()
                execution.started_at = self._clock.monotonic()
                if execution.timeout_s is not None:
                    execution.stops_at = execution.started_at + execution.timeout_s
                self._running += 1
                return execution
        return None

    def close(self, timeout_s: float) -> bool:
        """End the threads; return whether all of them have ended in time."""
        with self._state.lock:
            self._closing = True
            self._work.notify_all()
            threads = self._crew.threads()
        ends_at = self._clock.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(ends_at - self._clock.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in threads)
