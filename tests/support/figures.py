"""Figures for a time that the test chooses, stored as a process stores them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count

from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.metrics import MetricKey, Tally
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.flusher import Flusher
from flask_forge_jobs.storage.recorder import Recorder
from tests.support.clocks import START_US, MovingClock
from tests.support.runtimes import claimed


def add_figures(
    storage: Storage, source: str, tallies: Mapping[MetricKey, Tally]
) -> None:
    """Add figures to the rows of a source, in its next write."""
    for number in count(1):
        if storage.metrics.add(source, number, tallies, {}):
            return


class PastProcess:
    """Another process, whose clock the test moves.

    Args:
        storage: Where its figures go.
        now_us: When it begins.
    """

    def __init__(self, storage: Storage, now_us: int = START_US) -> None:
        self.clock = MovingClock(now_us)
        self.recorder = Recorder(self.clock)
        self.flusher = Flusher(
            self.recorder, storage.metrics, self.clock, UlidGenerator(self.clock).new
        )
        self.recorder.on_activity = lambda: None

    def runs(
        self,
        queue_name: str,
        kind: str,
        run_ms: Iterable[int] = (),
        *,
        dead: int = 0,
        retried: int = 0,
    ) -> None:
        """Enqueue, start and end this many jobs and store the figures."""
        ends = [(JobStatus.DONE, each * 1000) for each in run_ms]
        ends += [(JobStatus.DEAD, 0)] * dead + [(JobStatus.FAILED, 0)] * retried
        for status, run_us in ends:
            self.recorder.enqueued(queue_name, kind)
            job = claimed(kind=kind, queue=queue_name)
            end = JobUpdate(
                job, status, run_us=run_us, wait_us=run_us, total_us=2 * run_us
            )
            self.recorder.ended([end])
        self.flusher.flush()
