"""LocalQueue: a worker's slots for one queue, and the jobs that wait for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.error_history import tells_of_a_crash
from flask_forge_jobs.runtime.execution import Execution

HORIZON_S = 0.05
MOST_AHEAD = 128
# What the payloads of all jobs that wait for a slot of one process take.
MOST_BYTES_AHEAD = 16 * 1024 * 1024
# Weight of the newest job in the means: about the last ten count.
_WEIGHT = 0.2
# A run that is shorter than the mean counts for less: where one job in twenty is slow,
# the quick ones between two of them must not make it seem that none is.
_SHORTER_WEIGHT = 0.02


class Prefetch:
    """How many jobs to claim before there is a slot for them.

    Claiming ahead lets short jobs follow one another without a database call in
    between. A claimed job cannot run elsewhere, so only as many are taken as the recent
    mean run time says will start within 50 ms; none for slow or unknown tasks. Their
    payloads take memory while they wait, so large ones are fewer.

    Args:
        most_bytes: Of the payloads that may wait, by their mean size of late.
    """

    def __init__(self, most_bytes: int = MOST_BYTES_AHEAD) -> None:
        self._most_bytes = most_bytes
        self._mean_s: float | None = None
        self._mean_bytes: float | None = None

    def learn(self, run_s: float) -> None:
        """Take a run time into the mean, in seconds."""
        if self._mean_s is None:
            self._mean_s = run_s
        else:
            weight = _WEIGHT if run_s > self._mean_s else _SHORTER_WEIGHT
            self._mean_s += weight * (run_s - self._mean_s)

    def learn_size(self, payload_bytes: int) -> None:
        """Take the size of a claimed payload into the mean, in bytes."""
        if self._mean_bytes is None:
            self._mean_bytes = float(payload_bytes)
        else:
            self._mean_bytes += _WEIGHT * (payload_bytes - self._mean_bytes)

    def reset(self) -> None:
        """Forget the mean: claimed jobs waited far longer than it promised."""
        self._mean_s = None

    def jobs(self, slots: int) -> int:
        """Return how many jobs will start within the horizon and fit, 0 to 128."""
        if self._mean_s is None or self._mean_s >= HORIZON_S:
            return 0
        start = int(slots * HORIZON_S / max(self._mean_s, 1e-6))
        fit = int(self._most_bytes / max(self._mean_bytes or 1.0, 1.0))
        return min(start, fit, MOST_AHEAD)


def may_wait(job: ClaimedJob) -> bool:
    """Whether a claimed job may wait for a slot; the database takes it for a run then.

    The death of this process would count a second time against a job that may never
    have started, or would be the end of one that may run only once.
    """
    return job.max_attempts > 1 and not tells_of_a_crash(job.error_history)


@dataclass(slots=True)
class LocalQueue:
    """The slots of one queue, behind the lock of the worker's state."""

    limit: int = 0
    running: dict[int, Execution] = field(default_factory=dict)
    buffer: deque[Execution] = field(default_factory=deque)
    prefetch: Prefetch = field(default_factory=Prefetch)
    # Incarnation of each slot: counts up when an abandoned run leaves it.
    _incarnations: list[int] = field(default_factory=list)
    _free: list[int] = field(default_factory=list)

    @property
    def room(self) -> int:
        """How many more jobs could run if there were threads for them."""
        return max(self.limit - len(self.running) - len(self.buffer), 0)

    @property
    def startable(self) -> int:
        """How many of the waiting jobs could start if there were threads for them."""
        return min(len(self.buffer), max(self.limit - len(self.running), 0))

    def ahead(self, threads: int, share: int) -> int:
        """Return how many more jobs may be claimed that do not start at once."""
        if not self.limit:
            return 0
        room = self.room
        held = len(self.running) + len(self.buffer)
        likely = self.prefetch.jobs(min(self.limit, threads))
        wanted = max(likely, min(room, share - held))
        return max(wanted - max(len(self.buffer) - room, 0), 0)

    def start_next(self) -> Execution:
        """Move the job that has waited longest into the lowest free slot."""
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
        """Free the slot of a run that goes on; its successor gets another id."""
        self.leave(execution)
        self._incarnations[execution.slot] += 1

    def report(self, threads: int) -> Iterator[tuple[int, int, str | None]]:
        """Yield each slot, how many runs were abandoned in it, and the job it runs."""
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
        """Remove and return what waits."""
        taken = list(self.buffer)
        self.buffer.clear()
        return taken
