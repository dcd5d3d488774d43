"""Slots: which claimed jobs of a worker run, which wait, and the threads that run them.

Nothing here takes a lock; the loop's :class:`.Handover` guards all of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import may_be_claimed_ahead
from flask_forge_jobs.runtime.prefetch import MAX_BYTES_AHEAD, Prefetch
from flask_forge_jobs.runtime.run.execution import Execution

logger = get_logger(__name__)

# How long prefetching pauses after a job that may not wait had to go back.
DIRECT_S = 1.0


@dataclass(slots=True)
class LocalQueue:
    """The slots of one queue, and its jobs that wait for one."""

    limit: int = 0
    running: dict[int, Execution] = field(default_factory=dict)
    buffer: deque[Execution] = field(default_factory=deque)
    prefetch: Prefetch = field(default_factory=Prefetch)
    # How many abandoned runs have left each slot.
    _incarnations: list[int] = field(default_factory=list)
    _free: list[int] = field(default_factory=list)

    def demand(
        self, free: int, max_runs: int, share: int, *, now: float | None
    ) -> tuple[int, int]:
        """Return how many jobs to claim that can start at once, and how many more.

        Args:
            free: Threads that have nothing to do.
            max_runs: How many threads there may be.
            share: How many jobs of this queue may be here although no thread is free.
            now: The monotonic time; None if no job may be claimed that cannot start at
                once.
        """
        waiting = len(self.buffer)
        here = len(self.running) + waiting
        room = max(self.limit - here, 0)
        at_once = min(room, max(free, 0))
        if not self.limit or now is None:
            return at_once, 0
        waited_s = now - self.buffer[0].claimed_at if waiting else 0.0
        likely = self.prefetch.jobs(min(self.limit, max_runs), waiting, waited_s)
        return at_once, max(likely, min(room, share - here), 0)

    def clear(self) -> list[Execution]:
        """Remove and return the waiting jobs."""
        waiting = list(self.buffer)
        self.buffer.clear()
        self.prefetch.waiting_bytes = 0
        return waiting

    def start_next(self) -> Execution:
        """Move the oldest waiting job into the lowest free slot."""
        execution = self.buffer.popleft()
        self.prefetch.waiting_bytes -= len(execution.job.payload)
        if self._free:
            self._free.sort(reverse=True)
            execution.slot = self._free.pop()
        else:
            self._incarnations.append(0)
            execution.slot = len(self._incarnations) - 1
        self.running[execution.slot] = execution
        return execution

    def leave(self, execution: Execution) -> None:
        """Free the slot of a run that has ended."""
        del self.running[execution.slot]
        self._free.append(execution.slot)

    def abandon(self, execution: Execution) -> None:
        """Free the slot of a run that goes on; the slot gets a new id."""
        self.leave(execution)
        self._incarnations[execution.slot] += 1

    def report(self, threads: int) -> Iterator[tuple[int, int, str | None]]:
        """Yield each slot, its number of abandoned runs, and the id of its job."""
        last_running = max(self.running, default=-1)
        for slot in range(max(min(self.limit, threads), last_running + 1)):
            is_new = slot >= len(self._incarnations)
            run = self.running.get(slot)
            yield (
                slot,
                0 if is_new else self._incarnations[slot],
                None if run is None else run.job.id,
            )


class Slots:
    """The slots of one worker."""

    def __init__(self, queue_names: Sequence[str], max_runs: int) -> None:
        share = MAX_BYTES_AHEAD // max(len(queue_names), 1)
        self.queues = {
            name: LocalQueue(prefetch=Prefetch(share)) for name in queue_names
        }
        self.max_runs = max_runs
        self.running = 0
        """How many jobs run."""
        self.waiting = 0
        """How many claimed jobs wait for a slot."""
        self._order = list(queue_names)
        self._direct_until = 0.0

    def demand(self, names: Container[str], now: float) -> dict[str, int]:
        """Return how many jobs to claim from each queue.

        The queues share the free slots in turn; prefetched jobs come on top.
        """
        prefetching_at = now if now >= self._direct_until else None
        asked = []
        for name in self._order:
            if name in names:
                asked.append(name)  # noqa: PERF401  # a frame less per claim
        free = self.max_runs - self.running - self.waiting
        # If more jobs wait here than can start, they are quick and threads are soon
        # free; a queue with less than its share must not wait for the others.
        is_full = free < 0
        share = max(self.max_runs // max(len(asked), 1), 1) if is_full else 0
        demand: dict[str, int] = {}
        for name in asked:
            queue = self.queues[name]
            at_once, later = queue.demand(
                free, self.max_runs, share, now=prefetching_at
            )
            free -= at_once
            if at_once + later > 0:
                demand[name] = at_once + later
                queue.prefetch.asked, queue.prefetch.came = at_once + later, 0
        # The first queue is the last one next time. If no slot was free it keeps its
        # turn, unless jobs wait here, which take turns as well.
        first = next(iter(demand), self._order[0] if is_full else None)
        if first is not None:
            self._order.remove(first)
            self._order.append(first)
        return demand

    def take(self, execution: Execution, now: float) -> bool:
        """Let a claimed job wait for a slot; return False if it has to go back.

        A job that may not wait goes back if no slot is free. Prefetching pauses then,
        so that a free slot takes it from the head of its queue instead of a prefetched
        job.
        """
        job = execution.job
        queue = self.queues[job.queue_name]
        is_free = (
            queue.limit > len(queue.running) + len(queue.buffer)
            and self.max_runs > self.running + self.waiting
        )
        if not is_free and not may_be_claimed_ahead(
            job.attempts, job.max_attempts, job.crashes
        ):
            self._direct_until = now + DIRECT_S
            return False
        if is_free and not queue.buffer:
            queue.prefetch.has_run_out = True
        queue.buffer.append(execution)
        queue.prefetch.take(len(job.payload))  # JSON in ASCII
        self.waiting += 1
        return True

    def startable(self) -> int:
        """Return how many of the waiting jobs may start now."""
        count = 0
        for queue in self.queues.values():
            count += min(len(queue.buffer), max(queue.limit - len(queue.running), 0))
        return min(count, self.max_runs - self.running)

    def start_next(self) -> Execution | None:
        """Move the next job into a slot; None if none may start."""
        if self.running >= self.max_runs:
            return None
        for name in self._order:
            queue = self.queues[name]
            if queue.buffer and len(queue.running) < queue.limit:
                self.waiting -= 1
                self.running += 1
                return queue.start_next()
        return None

    def leave(self, execution: Execution) -> LocalQueue:
        """Free the slot of a run that has ended; return its queue."""
        queue = self.queues[execution.job.queue_name]
        queue.leave(execution)
        self.running -= 1
        return queue

    def holds(self, execution: Execution) -> bool:
        """Whether a run is in its slot: it goes on, and was not abandoned."""
        running = self.queues[execution.job.queue_name].running
        return running.get(execution.slot) is execution

    def abandon(self, execution: Execution) -> bool:
        """Free the slot of a run that goes on; return False if it has ended."""
        if not self.holds(execution):
            return False
        self.queues[execution.job.queue_name].abandon(execution)
        self.running -= 1
        return True

    def take_back(self, name: str) -> list[Execution]:
        """Remove and return the waiting jobs of a queue."""
        taken = self.queues[name].clear()
        self.waiting -= len(taken)
        return taken


class SlotThreads:
    """Threads that start when they are first needed."""

    def __init__(self, slots: Slots, work: Callable[[], None]) -> None:
        self._slots = slots
        self._work = work
        self._threads: set[threading.Thread] = set()
        self._started_count = 0
        self.idle = 0
        """How many threads wait for a job."""
        self.runs: dict[int, Execution] = {}
        """The latest run of each thread, by its identifier."""
        self.lost: set[int] = set()
        """The threads that are stuck in abandoned runs."""

    def staff(self, count: int) -> None:
        """Start the threads that are missing for this many more runs."""
        for _ in range(count - self.idle):
            living = len(self._threads) - len(self.lost)
            if living >= self._slots.max_runs:
                return
            try:
                self._start()
            except RuntimeError:
                # Claim no more than can run; jobs that are here already go back.
                self._slots.max_runs = max(living, 1)
                logger.warning("cannot start more threads; using %s", living)
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

    def lose(self, execution: Execution) -> None:
        """Stop counting on the thread of a run that was abandoned."""
        for ident, run in self.runs.items():
            if run is execution:
                self.lost.add(ident)

    def leave(self) -> None:
        """Forget the calling thread, which ends."""
        ident = threading.get_ident()
        self._threads.discard(threading.current_thread())
        self.lost.discard(ident)
        self.runs.pop(ident, None)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that have not ended."""
        return list(self._threads)
