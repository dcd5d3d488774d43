"""Gauges: how many jobs wait and run in a queue, and who could run more, by time.

They are measured once a minute. A bucket of several minutes holds sums, which a chart
shows as means, and the oldest wait among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask_forge_jobs.model.queues import QueueOverview
from flask_forge_jobs.model.workers import Worker

# Stands for all queues together, as in the figures of jobs.
ALL_QUEUES = ""
# Of more registered queues, those without jobs and slots are left out first.
MAX_QUEUES = 200


@dataclass(slots=True)
class Gauges:
    """Sums of one queue over ``samples``; ``oldest_wait_s`` is the largest.

    Attributes:
        waiting: Due jobs that no slot has, without those that wait for a retry.
        oldest_wait_s: Seconds since the oldest of them was due.
        running: Jobs in slots of live workers; others are claimed ahead.
        free_slots: Slots of live workers without a job.
        live_workers: Live workers that serve the queue.
    """

    samples: int = 0
    waiting: int = 0
    oldest_wait_s: int = 0
    running: int = 0
    free_slots: int = 0
    live_workers: int = 0

    def merge(self, other: Gauges) -> None:
        """Add the samples of another bucket."""
        self.samples += other.samples
        self.waiting += other.waiting
        self.oldest_wait_s = max(self.oldest_wait_s, other.oldest_wait_s)
        self.running += other.running
        self.free_slots += other.free_slots
        self.live_workers += other.live_workers


def measured(
    overview: Sequence[QueueOverview], workers: Sequence[Worker]
) -> Mapping[str, Gauges]:
    """Return one sample of each registered queue, and of all together.

    ``overview`` has the slots of live workers only, ``workers`` are live.
    """
    by_queue = {queue.settings.name: _of_queue(queue, workers) for queue in overview}
    whole = Gauges()
    for gauges in by_queue.values():
        whole.merge(gauges)
    whole.samples, whole.live_workers = 1, len(workers)
    first = sorted(by_queue, key=lambda name: (_is_idle(by_queue[name]), name))
    return {ALL_QUEUES: whole} | {name: by_queue[name] for name in first[:MAX_QUEUES]}


def _of_queue(queue: QueueOverview, workers: Sequence[Worker]) -> Gauges:
    name = queue.settings.name
    busy = sum(slot.current_job_id is not None for slot in queue.slots)
    return Gauges(
        samples=1,
        waiting=queue.counts.pending,
        oldest_wait_s=max(queue.oldest_due_age_s, 0),
        running=min(busy, queue.counts.in_progress),
        free_slots=len(queue.slots) - busy,
        live_workers=sum(
            not worker.queues or name in worker.queues for worker in workers
        ),
    )


def _is_idle(gauges: Gauges) -> bool:
    return not (gauges.waiting or gauges.running or gauges.free_slots)
