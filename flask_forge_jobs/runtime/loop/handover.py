"""Handover: where the loop and the slots meet, under the only lock around jobs.

A slot thread hands over its outcome and takes the next job in one step, without a
database call and without waiting for the loop. The loop puts claimed jobs here and
fetches outcomes. Nothing outside of this module takes the lock, so every method may be
called from any thread.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Container, Iterable

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob, RunId
from flask_forge_jobs.model.outcomes import (
    Failed,
    Outcome,
    Released,
    Snooze,
    Throttled,
    ThrottleScope,
)
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.runtime.lease import Lease
from flask_forge_jobs.runtime.run.execution import Execution, Runner
from flask_forge_jobs.runtime.slots import Slots, SlotThreads
from flask_forge_jobs.tasks.failures import describe_failure, fit

logger = get_logger(__name__)

Ended = tuple[Execution, Outcome]


class Handover:
    """The jobs of one worker from their claim until the loop has their outcome.

    Threads start when they are first needed. A run that does not stop in time is
    *abandoned*: a new thread takes its slot, and its outcome is dropped.
    """

    def __init__(
        self, runner: Runner, lease: Lease, slots: Slots, wake: Callable[[], object]
    ) -> None:
        self._runner = runner
        self._lease = lease
        self._slots = slots
        self.wake = wake
        # Reentrant: a handler of a signal may call within the call that it interrupts.
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._quiet = threading.Condition(self._lock)
        self._threads = SlotThreads(slots, self._run)
        self._ended: list[Ended] = []
        self._is_closing = False

    # -- the slots -------------------------------------------------------------------

    def _run(self) -> None:
        try:
            execution = self._next_job(None, None)
            while execution is not None:
                outcome = self._runner.run(execution)
                execution = self._next_job(execution, outcome)
        except BaseException as error:
            logger.exception("a slot thread died; starting another one")
            text = fit(describe_failure(error), self._runner.environment.mask)
            self._replace_thread(Failed(text))

    def _replace_thread(self, outcome: Outcome) -> None:
        """Fail the run of the calling thread, and start another thread in its place."""
        with self._lock:
            execution = self._threads.runs.get(threading.get_ident())
            if execution is not None and self._slots.holds(execution):
                self._hand_in(execution, outcome)
            self._threads.leave()
            self._threads.staff(self._slots.startable())

    def _next_job(
        self, ended: Execution | None, outcome: Outcome | None
    ) -> Execution | None:
        """Hand over an outcome and wait for the next job; None ends the thread."""
        ident = threading.get_ident()
        with self._lock:
            if ended is not None and outcome is not None:
                if ident in self._threads.lost:
                    self._threads.leave()
                    logger.warning("abandoned job %s has ended", ended.job.id)
                    return None
                self._hand_in(ended, outcome)
            while True:
                # After the lease other workers may have these jobs; they go back.
                if self._slots.waiting and self._lease.is_fresh:
                    execution = self._slots.start_next()
                    if execution is not None:
                        execution.started_at = self._lease.clock.monotonic()
                        self._threads.runs[ident] = execution
                        return execution
                if self._is_closing:
                    self._threads.leave()
                    return None
                self._threads.idle += 1
                try:
                    self._work.wait()
                finally:
                    self._threads.idle -= 1

    def _hand_in(self, ended: Execution, outcome: Outcome) -> None:
        queue = self._slots.leave(ended)
        if not self._slots.running:
            self._quiet.notify_all()
        ended.ended_at = self._lease.clock.monotonic()
        if not isinstance(outcome, Snooze):  # which says nothing about run times
            queue.prefetch.learn(ended.ended_at - ended.started_at)
        self._ended.append((ended, outcome))
        self.wake()
        if isinstance(outcome, Throttled) and outcome.scope is ThrottleScope.QUEUE:
            # Claims ask for the cool-down; the jobs that are here would start in it.
            queue.prefetch.reset()
            self._give_back_from(ended.job.queue_name)

    # -- the loop --------------------------------------------------------------------

    def demand(self, names: Container[str]) -> dict[str, int]:
        """Return how many jobs to claim from each of these queues."""
        with self._lock:
            return self._slots.demand(names, self._lease.clock.monotonic())

    def feed(self, jobs: Iterable[ClaimedJob]) -> None:
        """Take claimed jobs; they start as slots become free.

        Jobs that may not wait go back if no slot is free; after a stop all go back.
        """
        now = self._lease.clock.monotonic()
        count = 0
        with self._lock:
            for job in jobs:
                timeout_s = self._runner.timeout_of(job)
                execution = Execution(job, now, timeout_s=timeout_s)
                if self._lease.is_claiming and self._slots.take(execution, now):
                    count += 1
                else:
                    self._ended.append((execution, Released()))
                    self.wake()
            if count:
                self._threads.staff(self._slots.startable())
                self._work.notify(count)

    @property
    def ended(self) -> list[Ended]:
        """The outcomes that the loop has not dropped, oldest first."""
        return list(self._ended)

    def drop_ended(self, count: int) -> None:
        """Forget the oldest outcomes, which the loop keeps now."""
        with self._lock:
            del self._ended[:count]

    def abandon(self, execution: Execution, outcome: Outcome) -> bool:
        """Free the slot of a run that does not stop; return False if it has ended."""
        with self._lock:
            if not self._slots.abandon(execution):
                return False
            execution.ended_at = self._lease.clock.monotonic()
            self._ended.append((execution, outcome))
            if not self._slots.running:
                self._quiet.notify_all()
            self._threads.lose(execution)
            self._threads.staff(self._slots.startable())
            # If only its queue was full, an idle thread can take the next job.
            self._work.notify()
        self.wake()
        return True

    def give_back_waiting(self, claimed_before: float = math.inf) -> float | None:
        """Give back the jobs that did not start, and stop prefetching there.

        Args:
            claimed_before: Only from queues whose oldest job was claimed before this
                monotonic time; by default from all.

        Returns:
            When the oldest of the others was claimed, or None if none waits.
        """
        oldest: float | None = None
        with self._lock:
            for name, queue in self._slots.queues.items():
                if not queue.buffer:
                    continue
                claimed_at = queue.buffer[0].claimed_at
                if claimed_at < claimed_before:
                    queue.prefetch.reset()
                    self._give_back_from(name)
                elif oldest is None or claimed_at < oldest:
                    oldest = claimed_at
        return oldest

    # -- the duties ------------------------------------------------------------------

    def set_limit(self, queue_name: str, limit: int) -> None:
        """Set how many jobs of a queue may run at once here.

        With 0, the jobs that wait go back.
        """
        with self._lock:
            self._slots.queues[queue_name].limit = limit
            if limit == 0:
                self._give_back_from(queue_name)
            self._threads.staff(self._slots.startable())
            self._work.notify_all()

    def give_back(self, executions: Iterable[Execution]) -> None:
        """Return claimed jobs to their queue without losing an attempt."""
        with self._lock:
            self._ended += [(execution, Released()) for execution in executions]
        self.wake()

    def _give_back_from(self, queue_name: str) -> None:
        waiting = self._slots.take_back(queue_name)
        self._ended += [(execution, Released()) for execution in waiting]
        if waiting:
            self.wake()

    def take_uncounted_starts(self, started_before: float) -> list[Execution]:
        """Return, once each, the runs that started before a time and go on."""
        with self._lock:  # a run that ends now is counted here or at its end
            long = [
                execution
                for execution in self.running
                if not execution.is_start_counted
                and execution.started_at <= started_before
            ]
            for execution in long:
                execution.is_start_counted = True
            return long

    def slot_reports(self, worker_id: str) -> list[SlotReport]:
        """Return the state of every slot, for the registry."""
        with self._lock:
            return [
                SlotReport(f"{name}-{slot}-{worker_id}-{incarnation}", name, job_id)
                for name, queue in self._slots.queues.items()
                for slot, incarnation, job_id in queue.report(self._slots.max_runs)
            ]

    # -- any thread ------------------------------------------------------------------

    @property
    def running(self) -> list[Execution]:
        """The jobs that run now."""
        running: list[Execution] = []
        with self._lock:
            for queue in self._slots.queues.values():
                running += queue.running.values()
        return running

    @property
    def abandoned_count(self) -> int:
        """How many threads are still in runs that did not stop in time."""
        return len(self._threads.lost)

    def runs(self) -> set[RunId]:
        """Return every run here, from its claim until the loop keeps its outcome."""
        with self._lock:
            runs = {execution.job.run_id for execution, _ in self._ended}
            for queue in self._slots.queues.values():
                runs.update(each.job.run_id for each in queue.running.values())
                runs.update(each.job.run_id for each in queue.buffer)
            return runs

    def wait_until_quiet(self, timeout_s: float) -> bool:
        """Wait until nothing runs; return False on a timeout."""
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._slots.running, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """End the threads; return False if some do not end in time.

        A task may stop its own worker, so this does not wait for the calling thread.
        """
        clock = self._lease.clock
        with self._lock:
            self._is_closing = True
            self._work.notify_all()
            threads = self._threads.threads()
        caller = threading.current_thread()
        threads = [thread for thread in threads if thread is not caller]
        ends_at = clock.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(ends_at - clock.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in threads)
