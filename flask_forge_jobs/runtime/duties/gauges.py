"""Gauger: measures the queues once a minute, in the leader."""

from __future__ import annotations

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.gauges import measured
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.workers import LIVE_WITHIN_S
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.base import Storage

GAUGE_PERIOD_S = 60.0


class Gauger(Duty):
    """Stores what waits and runs in each queue, and the free slots and live workers."""

    def __init__(self, storage: Storage, leader: Leader, *, clock: Clock) -> None:
        super().__init__("gauges", GAUGE_PERIOD_S, clock=clock)
        self._storage = storage
        self._leader = leader

    def tick(self) -> bool:
        """Take one sample of each queue, if this process leads."""
        if not self._leader.is_leader:
            return False
        storage = self._storage
        now_us = storage.metrics.now_us()
        overview = storage.job_reader.snapshot(LIVE_WITHIN_S).overview
        workers = storage.workers.live(LIVE_WITHIN_S)
        storage.gauges.put(now_us, measured(overview, workers))
        storage.gauges.prune(now_us)
        return True

    def pause_s(self) -> float:
        """Sleep until the middle of the next minute, so that none is left out."""
        into_us = self._clock.now_us() % int(GAUGE_PERIOD_S * SECOND_US)
        return 1.5 * GAUGE_PERIOD_S - into_us / SECOND_US
