from __future__ import annotations

from datetime import timedelta

from flask_forge_jobs.handlers.metrics import queue_gauges
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Settlement
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.storage.base import Storage

NOW = from_micros(0)


def test_queue_gauges_of_registered_queues_by_name(storage: Storage) -> None:
    storage.queues.ensure("zeta", 0)
    storage.queues.set_paused("zeta", True)
    storage.jobs.enqueue(NewJob("k", queue_name="alpha"))

    alpha, zeta = queue_gauges(storage, NOW)

    assert (alpha.queue_name, alpha.counts) == ("alpha", QueueCounts(pending=1))
    assert (alpha.is_paused, zeta.is_paused) == (False, True)
    assert (alpha.max_workers, zeta.max_workers) == (64, 0)


def test_queue_gauges_show_a_cool_down_while_it_lasts(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    [job] = storage.jobs.claim("mail", "H")
    throttled = Settlement(
        job, JobStatus.PENDING, delay_s=60.0, uncount=True, cool_down_s=60.0
    )
    storage.jobs.finish("H", [throttled])
    until = storage.queues.get("mail").throttled_until
    assert until is not None

    [during] = queue_gauges(storage, until - timedelta(microseconds=1))
    [after] = queue_gauges(storage, until)

    assert (during.is_throttled, after.is_throttled) == (True, False)
