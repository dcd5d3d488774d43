from __future__ import annotations

from flask_forge_jobs.handlers.metrics import OTHER, job_counters, queue_gauges
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.series import MAX_SERIES
from tests.support.figures import PastProcess
from tests.support.sql import Sql


def test_queue_gauges_of_registered_queues_by_name(storage: Storage) -> None:
    storage.queues.ensure("zeta", 0)
    storage.queues.change("zeta", {"paused": True})
    storage.jobs.enqueue(NewJob("k", queue_name="alpha"))

    alpha, zeta = queue_gauges(storage)

    assert (alpha.queue_name, alpha.counts) == ("alpha", QueueCounts(pending=1))
    assert (alpha.is_paused, zeta.is_paused) == (False, True)
    assert (alpha.max_workers, zeta.max_workers) == (64, 0)


def test_queue_gauges_show_a_cool_down_while_it_lasts(
    storage: Storage, sql: Sql
) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name="mail"))
    [job] = storage.jobs.claim("mail", "H")
    throttled = JobUpdate(
        job, JobStatus.PENDING, delay_s=60.0, uncount=True, cool_down_s=60.0
    )
    storage.jobs.finish("H", [throttled])

    [during] = queue_gauges(storage)
    sql.age(61)
    [after] = queue_gauges(storage)

    assert (during.is_throttled, after.is_throttled) == (True, False)


# -- counters ----------------------------------------------------------------------


def test_counters_of_queues_that_are_or_were_registered(storage: Storage) -> None:
    storage.queues.ensure("mail")
    past = PastProcess(storage)
    past.runs("mail", "send", [10, 20], dead=1)
    past.runs("gone", "send", [10])
    past.clock.move(86_400)
    past.runs("mail", "send", [30])

    found = job_counters(storage)

    assert {pair: tally.enqueued for pair, tally in found.jobs.items()} == {
        ("mail", "send"): 4,
        ("gone", "send"): 1,
    }
    assert found.jobs["mail", "send"].dead == 1
    assert (found.times["mail"].run.count, found.times["mail"].wait.count) == (3, 4)
    assert found.times["gone"].run.count == 1


def test_sec_S32_invented_names_make_no_more_series(storage: Storage) -> None:
    storage.queues.ensure("mail")
    past = PastProcess(storage)
    past.recorder.enqueued("mail", "zz-first")
    past.flusher.flush()
    past.clock.move(2 * 86_400)
    for number in range(2 * MAX_SERIES):
        storage.queues.ensure(f"queue-{number}")
        past.recorder.enqueued(f"queue-{number}", f"kind-{number}")
    past.flusher.flush()

    found = job_counters(storage)

    assert len(found.jobs) == MAX_SERIES + 1
    assert found.jobs["mail", "zz-first"].enqueued == 1
    assert found.jobs[OTHER, OTHER].enqueued == MAX_SERIES + 1
    assert len(found.times) <= MAX_SERIES + 1
