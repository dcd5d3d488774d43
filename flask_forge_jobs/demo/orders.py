"""New orders every second, and the worker that runs their jobs."""

from __future__ import annotations

from itertools import count

from flask import Flask

from flask_forge_jobs.demo import scenery, shop
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.runtime.foreground import run_in_foreground
from flask_forge_jobs.runtime.service import Duty, Service
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage

THREADS = 14
GRACE_S = 2.0
PERIOD_S = 1.0
# A paused queue takes no more than this.
MAX_UNENTERED = 400


class DemoProducer(Duty):
    """Adds the jobs of about one order a second."""

    def __init__(self, storage: Storage, first_order: int) -> None:
        super().__init__("demo-jobs", PERIOD_S)
        self._storage = storage
        self._orders = count(first_order)

    def tick(self) -> None:
        """Add the jobs of one order."""
        jobs = self.jobs_of(next(self._orders))
        waiting = self._storage.queues.waiting([shop.LEDGER])
        if waiting.get(shop.LEDGER, 0) >= MAX_UNENTERED:
            jobs = [job for job in jobs if job.queue_name != shop.LEDGER]
        self._storage.jobs.enqueue_many(jobs)

    @staticmethod
    def jobs_of(order: int) -> list[NewJob]:
        """Return the jobs of an order; only some orders have pictures or videos."""
        cents = 900 + order * 37 % 9000
        jobs = [
            shop.send_receipt.job(order=order, to=f"customer{order}@shop.example"),
            shop.index_product.job(order=order),
        ]
        if order % 2 == 0:
            jobs.append(shop.charge_card.job(order=order, cents=cents))
            jobs.append(shop.write_entry.job(order=order, cents=cents))
        if order % 4 == 0:
            jobs.append(shop.resize_image.job(order=order, sizes=[64, 256, 1024]))
        if order % 15 == 0:
            jobs.append(shop.close_order.job(order=order))
        if order % 70 == 0:
            jobs.append(shop.transcode_video.job(order=order, seconds=40))
        return jobs


def run(app: Flask) -> int:
    """Run the worker and the producer until a signal or the server's end."""
    state = state_of(app)
    for task in shop.TASKS:
        state.registry.add(task)
    orders = scenery.FIRST_ORDER + scenery.UNENTERED
    producer = Service(DemoProducer(state.storage, orders))
    names = (*scenery.QUEUES, DEFAULT_QUEUE)
    runtime = state.runtime(THREADS).with_queues(names).with_worker_name("demo")
    state.storage.open()
    producer.start()
    try:
        return run_in_foreground(runtime, grace_s=GRACE_S)
    finally:
        producer.stop()
        producer.join(PERIOD_S)
