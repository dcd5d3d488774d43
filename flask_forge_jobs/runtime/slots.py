"""The slots: threads that run claimed jobs.

A slot thread delivers its outcome and takes the next job under one lock, without a
database call. Threads start when they are first needed. A run that does not stop in
time is *abandoned*: a new thread takes its slot, and its outcome is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.outcomes import Failed, Outcome, Released, Snooze
from flask_forge_jobs.runtime.local_queue import LocalQueue, may_wait
from flask_forge_jobs.runtime.run.execution import Execution, Runner
from flask_forge_jobs.runtime.state import WorkerState
from flask_forge_jobs.tasks.failures import describe_failure, fit

logger = get_logger(__name__)

# How long prefetching pauses after a job that may not wait had to go back.
DIRECT_S = 1.0


class SlotThreads:
    """Threads that start when they are first needed; guarded by the state's lock."""

    def __init__(self, state: WorkerState, work: Callable[[], None]) -> None:
        self.idle = 0
        self._state = state
        self._work = work
        self._threads: set[threading.Thread] = set()
        self._lost: set[int] = set()  # threads that are stuck in abandoned runs
        self._started_count = 0

    def staff(self, count: int) -> None:
        """Start the threads that are missing for this many more runs."""
        for _ in range(count - self.idle):
            living = len(self._threads) - len(self._lost)
            if living >= self._state.most_runs:
                return
            try:
                self._start()
            except RuntimeError:
                # Claim no more than can run; jobs that are here already go back.
                self._state.most_runs = max(living, 1)
                logger.exception("cannot start more threads; using %s", living)
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

    @property
    def lost_count(self) -> int:
        """How many threads are stuck now."""
        return len(self._lost)

    def lose(self, ident: int) -> None:
        """Stop counting on a thread."""
        self._lost.add(ident)

    def leave(self) -> None:
        """Forget the calling thread, which ends."""
        thread = threading.current_thread()
        self._threads.discard(thread)
        self._lost.discard(threading.get_ident())

    def threads(self) -> list[threading.Thread]:
        """Return the threads that have not ended."""
        return list(self._threads)


class SlotPool:
    """The slot threads of one worker process, shared by its queues."""

    def __init__(self, state: WorkerState, runner: Runner) -> None:
        self._state = state
        self._order = list(state.queue_names)
        self._runner = runner
        self._clock = state.clock
        self._work = threading.Condition(state.lock)
        self._quiet = threading.Condition(state.lock)
        self._threads = SlotThreads(state, self._run)
        self._running = 0
        self._closing = False
        self._direct_until = 0.0
        self.dropped_count = 0

    @property
    def abandoned_count(self) -> int:
        """How many threads are still in runs that did not stop in time."""
        return self._threads.lost_count

    def set_limit(self, queue_name: str, limit: int) -> None:
        """Set how many jobs of a queue may run at once here."""
        with self._state.lock:
            self._state.queues[queue_name].limit = limit
            self._threads.staff(self._startable())
            self._work.notify_all()

    def demand(self, names: Container[str]) -> dict[str, int]:
        """Return how many jobs to claim from each queue.

        The queues share the free slots in turn; prefetched jobs come on top.
        """
        may_prefetch = self._clock.monotonic() >= self._direct_until
        with self._state.lock:
            most = self._state.most_runs
            wanted: dict[str, int] = {}
            asked = [name for name in self._order if name in names]
            free = self._free_threads()
            # If more jobs wait here than can start, they are quick and threads are soon
            # free; a queue with less than its share must not wait for the others.
            fair = max(most // max(len(asked), 1), 1)
            share = fair if free < 0 else 0
            for name in asked:
                queue = self._state.queues[name]
                now = min(queue.room, max(free, 0))
                free -= now
                later = queue.ahead(most, share) if may_prefetch else 0
                if now + later > 0:
                    wanted[name] = now + later
            # The first queue is the last one next time.
            self._order.append(self._order.pop(0))
            return wanted

    def _free_threads(self) -> int:
        """How many threads are idle and have no claimed job waiting for them."""
        free = self._state.most_runs - self._running
        for queue in self._state.queues.values():
            free -= len(queue.buffer)
        return free

    def feed(self, jobs: Iterable[ClaimedJob]) -> None:
        """Take claimed jobs; they start as slots become free.

        Jobs that may not wait go back if no slot is free; after a stop all go back.
        When one goes back, prefetching pauses for a second, so that a free slot takes
        it from the head of its queue instead of a prefetched job.
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
                self._threads.staff(self._startable())
                self._work.notify(count)

    def _has_to_go_back(self, queue: LocalQueue, job: ClaimedJob, now: float) -> bool:
        if not self._state.is_claiming:
            return True
        if may_wait(job) or (queue.room > 0 and self._free_threads() > 0):
            return False
        self._direct_until = now + DIRECT_S
        return True

    def abandon(self, execution: Execution, outcome: Outcome) -> bool:
        """Free the slot of a run that does not stop; return False if it has ended."""
        with self._state.lock:
            queue = self._state.queues[execution.job.queue_name]
            if queue.running.get(execution.slot) is not execution:
                return False
            execution.is_abandoned = True
            execution.ended_at = self._clock.monotonic()
            queue.abandon(execution)
            self._state.ended.append((execution, outcome))
            self._note_one_less()
            self._threads.lose(execution.thread_id)
            self._threads.staff(self._startable())
            # If only its queue was full, an idle thread can take the next job.
            self._work.notify()
        self._state.signal.set()
        return True

    def wait_until_quiet(self, timeout_s: float) -> bool:
        """Wait until nothing runs; return False on a timeout."""
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._running, timeout_s)

    def _startable(self) -> int:
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
            logger.exception("a slot thread died; starting another one")
            text = fit(describe_failure(error), self._runner.mask)
            self._replace_thread(Failed(text))

    def _replace_thread(self, outcome: Outcome) -> None:
        """Fail the run of the calling thread, and start another thread in its place."""
        ident = threading.get_ident()
        with self._state.lock:
            for queue in self._state.queues.values():
                for execution in list(queue.running.values()):
                    if execution.thread_id == ident:
                        self._hand_in(execution, outcome)
            self._threads.leave()
            self._threads.staff(self._startable())

    def _next(
        self, ended: Execution | None, outcome: Outcome | None
    ) -> Execution | None:
        """Deliver an outcome and wait for the next job; None ends the thread."""
        with self._state.lock:
            if ended is not None and outcome is not None:
                if ended.is_abandoned:
                    self.dropped_count += 1
                    self._threads.leave()
                    logger.warning("abandoned job %s has ended", ended.job.id)
                    return None
                self._hand_in(ended, outcome)
            while True:
                execution = self._pick()
                if execution is not None:
                    return execution
                if self._closing:
                    self._threads.leave()
                    return None
                self._threads.idle += 1
                try:
                    self._work.wait()
                finally:
                    self._threads.idle -= 1

    def _hand_in(self, ended: Execution, outcome: Outcome) -> None:
        queue = self._state.queues[ended.job.queue_name]
        queue.leave(ended)
        self._note_one_less()
        ended.ended_at = self._clock.monotonic()
        if not isinstance(outcome, Snooze):  # which says nothing about run times
            queue.prefetch.learn(ended.ended_at - ended.started_at)
        self._state.ended.append((ended, outcome))
        if not self._state.signal.is_set():
            self._state.signal.set()

    def _note_one_less(self) -> None:
        self._running -= 1
        if not self._running:
            self._quiet.notify_all()

    def _pick(self) -> Execution | None:
        if self._running >= self._state.most_runs:
            return None
        for name in self._order:
            queue = self._state.queues[name]
            if queue.startable:
                if not self._state.is_fresh:
                    return None  # other workers may have these jobs; they go back
                execution = queue.start_next()
                execution.thread_id = threading.get_ident()
                execution.started_at = self._clock.monotonic()
                if execution.timeout_s is not None:
                    execution.stops_at = execution.started_at + execution.timeout_s
                self._running += 1
                return execution
        return None

    def close(self, timeout_s: float) -> bool:
        """End the threads; return False if some do not end in time.

        A task may stop its own worker, so this does not wait for the calling thread.
        """
        with self._state.lock:
            self._closing = True
            self._work.notify_all()
            threads = self._threads.threads()
        caller = threading.current_thread()
        threads = [thread for thread in threads if thread is not caller]
        ends_at = self._clock.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(ends_at - self._clock.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in threads)
