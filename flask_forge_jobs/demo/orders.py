"""New orders every second, and the workers that run their jobs."""

from __future__ import annotations

from itertools import count, cycle, islice

from flask import Flask

from flask_forge_jobs.demo import cities, scenery, shop
from flask_forge_jobs.demo.flows import WORKERS
from flask_forge_jobs.runtime.foreground import run_in_foreground
from flask_forge_jobs.runtime.service import Duty, Service
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage

THREADS = 12
MEDIA = "media"
GRACE_S = 2.0
PERIOD_S = 1.0
# Orders of each second, one on average. They come in waves, which the rate limit of the
# gateway evens out.
WAVE = (3,) * 10 + (0, 1, 0) * 10
# A paused queue takes no more than this.
MAX_UNENTERED = 4000


class DemoProducer(Duty):
    """Adds the jobs of about one order a second, and now and then a report."""

    def __init__(self, storage: Storage, first_order: int) -> None:
        super().__init__("demo-jobs", PERIOD_S)
        self._storage = storage
        self._orders = count(first_order)
        self._wave = cycle(WAVE)
        self._reports = cycle(range(cities.PERIOD_S))

    def tick(self) -> None:
        """Add the jobs of the orders of a second, and of a report if it is time."""
        orders = list(islice(self._orders, next(self._wave)))
        jobs = [job for order in orders for job in shop.jobs_of(order)]
        waiting = self._storage.queues.waiting([shop.LEDGER])
        if waiting.get(shop.LEDGER, 0) >= MAX_UNENTERED:
            jobs = [job for job in jobs if job.queue_name != shop.LEDGER]
        self._storage.jobs.enqueue_many(jobs)
        if next(self._reports) == 0:
            cities.begin_report(self._storage, "of today")


def run(app: Flask) -> int:
    """Run the workers and the producer until a signal or the server's end."""
    state = state_of(app)
    for task in shop.TASKS:
        state.registry.add(task)
    producer = Service(DemoProducer(state.storage, scenery.NEXT_ORDER))
    names = [name for name in scenery.QUEUES if name != MEDIA]
    first, second = WORKERS
    runtime = state.runtime(THREADS).with_queues(names).with_worker_name(first)
    state.storage.open()
    producer.start()
    media = state.runtime(scenery.QUEUES[MEDIA]).with_queues([MEDIA])
    handle = media.with_worker_name(second).start()
    try:
        return run_in_foreground(runtime, grace_s=GRACE_S)
    finally:
        producer.stop()
        producer.join(PERIOD_S)
        handle.shutdown_graceful(GRACE_S)
