"""LocalQueue: a worker's slots for one queue, and its prefetched jobs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.runtime.run.execution import Execution

HORIZON_S = 0.05
MOST_AHEAD = 128
MOST_BYTES_AHEAD = 16 * 1024 * 1024  # payloads of the prefetched jobs of a process
# No more are claimed while this part of them waits: a claim of many costs little more
# than a claim of one.
_ENOUGH = 0.75
# Weight of the newest job in the means: about the last ten count.
_WEIGHT = 0.2
# A shorter run and a smaller payload count for less, so that the quick jobs between two
# slow ones, say one in twenty, do not hide that slow ones exist.
_LESSER_WEIGHT = 0.02


class Prefetch:
    """How many jobs to claim before a slot is free.

    With prefetching, short jobs follow one another without a database call. A claimed
    job cannot run elsewhere, so only those are claimed that, by the recent mean run
    time, start within 50 ms; none for slow or unknown tasks. ``most_bytes`` bounds the
    payloads, by their recent mean size.
    """

    def __init__(self, most_bytes: int = MOST_BYTES_AHEAD) -> None:
        self._most_bytes = most_bytes
        self._mean_s: float | None = None
        self._mean_bytes: float | None = None

    def learn(self, run_s: float) -> None:
        """Add a run time in seconds to the mean."""
        self._mean_s = _mean(self._mean_s, run_s)

    def learn_size(self, payload_bytes: int) -> None:
        """Add the size of a claimed payload to the mean."""
        self._mean_bytes = _mean(self._mean_bytes, payload_bytes)

    def reset(self) -> None:
        """Forget the mean, because prefetched jobs waited longer than it promised."""
        self._mean_s = None

    def jobs(self, slots: int, waiting: int = 0, waiting_bytes: int = 0) -> int:
        """Return how many jobs to prefetch for these slots, 0 to 128.

        Args:
            slots: How many jobs may run at once.
            waiting: Jobs that have been prefetched already.
            waiting_bytes: The size of their payloads.
        """
        if self._mean_s is None or self._mean_s >= HORIZON_S:
            return 0
        start = min(int(slots * HORIZON_S / max(self._mean_s, 1e-6)), MOST_AHEAD)
        if waiting > _ENOUGH * start:
            return 0
        room_bytes = self._most_bytes - waiting_bytes
        fit = int(room_bytes / max(self._mean_bytes or 1.0, 1.0))
        return max(min(start - waiting, fit), 0)


def _mean(mean: float | None, newest: float) -> float:
    if mean is None:
        return float(newest)
    weight = _WEIGHT if newest > mean else _LESSER_WEIGHT
    return mean + weight * (newest - mean)


def may_wait(job: ClaimedJob) -> bool:
    """Whether a job may be prefetched, which counts as an attempt.

    If this process died, a job in its last attempt would end unstarted, and a job that
    has seen a crash would be blamed for another.
    """
    return job.attempts < job.max_attempts and not job.crashes


@dataclass(slots=True)
class LocalQueue:
    """The slots of one queue; guarded by the lock of the worker's state."""

    limit: int = 0
    running: dict[int, Execution] = field(default_factory=dict)
    buffer: deque[Execution] = field(default_factory=deque)
    prefetch: Prefetch = field(default_factory=Prefetch)
    # How many abandoned runs have left each slot.
    _incarnations: list[int] = field(default_factory=list)
    _free: list[int] = field(default_factory=list)

    @property
    def room(self) -> int:
        """How many more jobs may run, given enough threads."""
        return max(self.limit - len(self.running) - len(self.buffer), 0)

    @property
    def startable(self) -> int:
        """How many of the waiting jobs may start, given enough threads."""
        return min(len(self.buffer), max(self.limit - len(self.running), 0))

    def ahead(self, threads: int, share: int) -> int:
        """Return how many more jobs to claim than can start at once."""
        if not self.limit:
            return 0
        waiting = len(self.buffer)
        waiting_bytes = sum([len(each.job.payload) for each in self.buffer])
        slots = min(self.limit, threads)
        likely = self.prefetch.jobs(slots, waiting, waiting_bytes)
        missing = min(self.room, share - len(self.running) - waiting)
        return max(likely, missing, 0)

    def start_next(self) -> Execution:
        """Move the oldest waiting job into the lowest free slot."""
        execution = self.buffer.popleft()
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

    def take_back(self) -> list[Execution]:
        """Remove and return the waiting jobs."""
        taken = list(self.buffer)
        self.buffer.clear()
        return taken
