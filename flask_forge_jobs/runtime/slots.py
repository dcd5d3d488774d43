"""The slots: threads that run jobs, fed from memory.

A slot thread hands in its outcome and takes the next job under one lock, so a job costs
no database call of its own. Threads start when they are first needed. A run that does
not stop in time is *abandoned*: its slot goes to a new thread, and whatever the old one
still returns is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.jobs import ClaimedJob, RunId
from flask_forge_jobs.model.outcomes import Failed, Outcome, PutOff
from flask_forge_jobs.model.processes import SlotReport
from flask_forge_jobs.runtime.crew import Crew
from flask_forge_jobs.runtime.execution import Execution, Runner
from flask_forge_jobs.runtime.lane import Lane, may_wait
from flask_forge_jobs.runtime.look_ahead import MOST_BYTES_AHEAD, LookAhead
from flask_forge_jobs.tasks.failures import describe_failure, fit, mask_known

logger = get_logger(__name__)

Ended = tuple[Execution, Outcome]

# For how long nothing is claimed ahead once a job that may not wait had to go back.
DIRECT_S = 1.0


class SlotPool:
    """Slot threads of one worker process, shared by its queues.

    Args:
        queue_names: The declared queues.
        threads: Most runs at once in this process.
        runner: Runs one execution.
        host_id: Ends the ids of the slots.
        clock: For deadlines and run times.
        on_ended: Called after an outcome was handed in.
    """

    def __init__(
        self,
        queue_names: Iterable[str],
        *,
        threads: int,
        runner: Runner,
        host_id: str,
        clock: Clock,
        on_ended: Callable[[], None],
    ) -> None:
        self._order = list(dict.fromkeys(queue_names))
        share = MOST_BYTES_AHEAD // max(len(self._order), 1)
        self._lanes = {name: Lane(look_ahead=LookAhead(share)) for name in self._order}
        self._runner = runner
        self._host_id = host_id
        self._clock = clock
        self._on_ended = on_ended
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._quiet = threading.Condition(self._lock)
        self._crew = Crew(threads, self._run)
        self._running = 0
        self._ended: list[Ended] = []
        self._closing = False
        self._direct_until = 0.0
        self.abandoned_count = 0
        self.dropped_count = 0

    # -- what the dispatcher asks ----------------------------------------------------

    def set_limit(self, queue_name: str, limit: int) -> None:
        """Set how many jobs of a queue may run at once in this process."""
        with self._lock:
            self._lanes[queue_name].limit = limit
            self._crew.staff(self._startable())
            self._work.notify_all()

    def demand(self, names: Container[str]) -> dict[str, int]:
        """Return how many more jobs of each queue there is room for.

        Free slots are shared between the queues in turn; on top comes what is likely to
        start within the look-ahead.

        Args:
            names: The queues that may have work; the others get no share.
        """
        with self._lock:
            wanted: dict[str, int] = {}
            asked = [name for name in self._order if name in names]
            free = self._free_threads()
            may_look_ahead = self._clock.monotonic() >= self._direct_until
            # More waits here than can start: quick jobs, so a thread is soon free, and
            # a queue with less than its share of them must not wait for the others.
            fair = max(self._crew.most // max(len(asked), 1), 1)
            share = fair if free < 0 else 0
            for name in asked:
                lane = self._lanes[name]
                now = min(lane.room, max(free, 0))
                free -= now
                later = lane.ahead(self._crew.most, share) if may_look_ahead else 0
                if now + later > 0:
                    wanted[name] = now + later
            # The queue that came first comes last next time.
            self._order.append(self._order.pop(0))
            return wanted

    def _free_threads(self) -> int:
        """How many threads have neither a run nor a claimed job that waits for them."""
        spoken_for = sum(len(lane.buffer) for lane in self._lanes.values())
        return self._crew.most - self._running - spoken_for

    def feed(self, jobs: Iterable[ClaimedJob]) -> list[Execution]:
        """Take claimed jobs; they start as slots become free.

        When a job that may not wait has to go back, nothing is claimed ahead for a
        second: the next slots go to what is first in its queue, which is that job, and
        not to others that were claimed meanwhile.

        Returns:
            Jobs that may not wait and that there is no slot for; to be given back.
        """
        now = self._clock.monotonic()
        refused: list[Execution] = []
        with self._lock:
            count = 0
            for job in jobs:
                lane = self._lanes[job.queue_name]
                lane.look_ahead.learn_size(len(job.payload))  # JSON in ASCII
                execution = Execution(job, now, timeout_s=self._runner.timeout_of(job))
                if not may_wait(job) and not self._starts_at_once(lane):
                    self._direct_until = now + DIRECT_S
                    refused.append(execution)
                    continue
                lane.buffer.append(execution)
                count += 1
            if count:
                self._crew.staff(self._startable())
                self._work.notify(count)
        return refused

    def _starts_at_once(self, lane: Lane) -> bool:
        """Whether the next job of a queue would start without a wait."""
        return lane.room > 0 and self._free_threads() > 0

    def take_ended(self) -> list[Ended]:
        """Return the outcomes handed in since the last call."""
        with self._lock:
            ended, self._ended = self._ended, []
            return ended

    def take_back(
        self, *, older_than: float | None = None, queue_name: str | None = None
    ) -> list[Execution]:
        """Remove claimed jobs that have not started.

        Args:
            older_than: Only those claimed before this monotonic instant, and the queue
                stops looking ahead; None takes all.
            queue_name: Only of this queue; None means all.
        """
        taken: list[Execution] = []
        with self._lock:
            for name, lane in self._lanes.items():
                if queue_name is not None and name != queue_name:
                    continue
                if older_than is None:
                    taken.extend(lane.take_back())
                elif lane.buffer and lane.buffer[0].claimed_at < older_than:
                    lane.look_ahead.disappoint()
                    taken.extend(lane.take_back())
        return taken

    # -- what is running -------------------------------------------------------------

    @property
    def has_ended_runs(self) -> bool:
        """Whether outcomes wait to be taken."""
        return bool(self._ended)

    def wait_until_quiet(self, timeout_s: float) -> bool:
        """Wait until nothing runs; return whether that came true in time."""
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._running, timeout_s)

    @property
    def buffered(self) -> int:
        """Claimed jobs that have not started."""
        with self._lock:
            return sum(len(lane.buffer) for lane in self._lanes.values())

    def running(self) -> list[Execution]:
        """Return the runs under way."""
        with self._lock:
            return list(self._under_way())

    def _under_way(self) -> Iterator[Execution]:
        for lane in self._lanes.values():
            yield from lane.running.values()

    def stop_limit_s(self, execution: Execution) -> float:
        """Return how long a task of ours takes at most to end its process, else 0."""
        return self._runner.stop_limit_s(execution.job)

    def timeout_of(self, job: ClaimedJob) -> float | None:
        """Return the time limit of a job in seconds, if it has one."""
        return self._runner.timeout_of(job)

    def take_uncounted_starts(self, started_before: float) -> list[Execution]:
        """Return the older runs under way whose start is not counted; each once.

        Args:
            started_before: Only those that started before this monotonic instant.
        """
        with self._lock:  # a run that ends now is either among them or never will be
            found = [
                execution
                for execution in self._under_way()
                if not execution.is_start_counted
                and execution.started_at <= started_before
            ]
            for execution in found:
                execution.is_start_counted = True
            return found

    def runs(self) -> set[RunId]:
        """Return every run this process holds, ended ones included."""
        with self._lock:
            held = {ended.job.run_id for ended, _ in self._ended}
            held.update(each.job.run_id for each in self._under_way())
            for lane in self._lanes.values():
                held.update(each.job.run_id for each in lane.buffer)
            return held

    def report(self) -> list[SlotReport]:
        """Return what every slot does, for the process registry."""
        with self._lock:
            return [
                SlotReport(f"{name}-{slot}-{self._host_id}-{incarnation}", name, job_id)
                for name, lane in self._lanes.items()
                for slot, incarnation, job_id in lane.report(self._crew.most)
            ]

    def abandon(self, execution: Execution) -> bool:
        """Free the slot of a run that will not stop; its outcome will be dropped.

        Returns:
            False when the run has just ended by itself.
        """
        with self._lock:
            lane = self._lanes[execution.job.queue_name]
            if lane.running.get(execution.slot) is not execution:
                return False
            execution.is_abandoned = True
            lane.abandon(execution)
            self._note_one_less()
            self.abandoned_count += 1
            self._crew.lose(execution.thread_id)
            self._crew.staff(self._startable())
            # Only its queue was full: an idle thread can take what waits there.
            self._work.notify()
            return True

    # -- threads ---------------------------------------------------------------------

    def _startable(self) -> int:
        """How many buffered jobs could start now."""
        return min(
            sum(lane.startable for lane in self._lanes.values()),
            self._crew.most - self._running,
        )

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
        with self._lock:
            for execution in list(self._under_way()):
                if execution.thread_id == ident:
                    self._hand_in(execution, outcome)
            self._crew.leave()
            self._crew.staff(self._startable())

    def _next(
        self, ended: Execution | None, outcome: Outcome | None
    ) -> Execution | None:
        """Hand in an outcome and wait for the next job; None ends the thread."""
        with self._work:
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
        lane = self._lanes[ended.job.queue_name]
        lane.leave(ended)
        self._note_one_less()
        ended.ended_at = self._clock.monotonic()
        if not isinstance(outcome, PutOff):  # which tells nothing of how long runs take
            lane.look_ahead.learn(ended.ended_at - ended.started_at)
        self._ended.append((ended, outcome))
        self._on_ended()

    def _note_one_less(self) -> None:
        self._running -= 1
        if not self._running:
            self._quiet.notify_all()

    def _pick(self) -> Execution | None:
        """Take the next job whose queue has a slot."""
        if self._running >= self._crew.most:
            return None
        for name in self._order:
            lane = self._lanes[name]
            if lane.startable:
                execution = lane.start_next()
                execution.thread_id = threading.get_ident()
                execution.started_at = self._clock.monotonic()
                if execution.timeout_s is not None:
                    execution.stops_at = execution.started_at + execution.timeout_s
                self._running += 1
                return execution
        return None

    def close(self, timeout_s: float) -> bool:
        """End the threads; return whether all of them have ended in time."""
        with self._lock:
            self._closing = True
            self._work.notify_all()
            threads = self._crew.threads()
        ends_at = self._clock.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(ends_at - self._clock.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in threads)
