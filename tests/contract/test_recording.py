"""From what a process does to the figures in the database, on both backends."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from datetime import timedelta

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import DuplicateJobError
from flask_forge_jobs.model.instants import MICROSECOND, SECOND_US, from_micros
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.metrics import Tally, Window
from flask_forge_jobs.model.outcomes import Dead, Failed, Throttled
from flask_forge_jobs.storage.base import Storage
from tests.support.callers import Caller
from tests.support.jobs import rescue_all
from tests.support.runtimes import (
    HeldTask,
    QuickTask,
    add,
    registry_of,
    running,
    wait_for_status,
)
from tests.support.sql import Sql
from tests.support.waiting import wait_until


def figures(storage: Storage, queue: str = "", kind: str = "") -> Tally:
    """Return everything that was stored within an hour of now."""
    storage.flusher.flush()
    return stored(storage, queue, kind)


def stored(storage: Storage, queue: str = "", kind: str = "") -> Tally:
    start_us = int((time.time() - 3600) * SECOND_US)  # noqa: TID251  # real processes
    hours = Window(start_us, 7200 * SECOND_US, 1)
    if kind:
        return storage.metrics.timelines_of_kinds(hours, 10, [kind])[kind][0]
    return storage.metrics.timelines(hours, 10, [queue])[queue][0]


def test_enqueues_are_counted_and_duplicates_are_not(storage: Storage) -> None:
    job = NewJob("send", queue_name="mail", dedupe_key="once")
    storage.jobs.enqueue(job)
    storage.jobs.enqueue(job)
    storage.jobs.enqueue_many([job, NewJob("send", queue_name="mail"), NewJob("pack")])
    with pytest.raises(DuplicateJobError):
        storage.jobs.enqueue(NewJob("other", dedupe_key="once"))

    assert figures(storage, kind="send").enqueued == 2
    assert figures(storage, kind="pack").enqueued == 1
    assert figures(storage).enqueued == 3


# Python 3.12 warns of forks with several threads, which multiprocessing still allows.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_a_child_of_multiprocessing_enqueues_is_counted(storage: Storage) -> None:
    """It ends without Python's exit handlers"""
    storage.jobs.enqueue(NewJob("parent"))

    def work() -> None:
        for _ in range(5):
            storage.jobs.enqueue(NewJob("child"))

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)

    assert child.exitcode == 0
    assert stored(storage, kind="child").enqueued == 5


def test_jobs_of_callers_are_counted_once_they_are_there(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    """I8"""
    one, two = NewJob("send"), NewJob("pack", dedupe_key="once")
    with contextlib.closing(Caller(database_settings).connect()) as connection:
        storage.jobs.enqueue(one, connection=connection)
        connection.rollback()
        storage.jobs.enqueue_many([one, two, two], connection=connection)
        cursor = connection.cursor()
        cursor.execute("SAVEPOINT mine")
        storage.jobs.enqueue(one, connection=connection)
        cursor.execute("ROLLBACK TO SAVEPOINT mine")
        assert figures(storage).enqueued == 0
        connection.commit()

    # The thread looks for them again by itself, although nothing else is counted.
    wait_until(lambda: stored(storage).enqueued == 2, "both jobs are counted")
    assert stored(storage, kind="send").enqueued == 1
    assert figures(storage).enqueued == 2


def test_figures_of_a_process_without_workers_reach_the_database(
    storage: Storage,
) -> None:
    storage.jobs.enqueue(NewJob("send"))

    wait_until(lambda: stored(storage).enqueued == 1, "stored")


def test_closing_the_storage_stores_the_figures(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send"))

    storage.close()

    assert stored(storage).enqueued == 1


def test_a_worker_counts_how_its_runs_end(storage: Storage) -> None:
    throttled = QuickTask("throttled", lambda _: Throttled(600, scope="job"))
    registry = registry_of(
        QuickTask("done"),
        QuickTask("failed", lambda _: Failed("no")),
        QuickTask("dead", lambda _: Dead("never")),
        throttled,
    )
    ids = {kind: add(storage, kind) for kind in ("done", "failed", "dead")}
    ids |= {"throttled": add(storage, "throttled")}

    with running(storage, registry):
        wait_for_status(storage, ids["done"], JobStatus.DONE)
        wait_for_status(storage, ids["failed"], JobStatus.FAILED)
        wait_for_status(storage, ids["dead"], JobStatus.DEAD)
        wait_until(lambda: throttled.job_ids, "throttled")
        wait_for_status(storage, ids["throttled"], JobStatus.PENDING)

    whole = figures(storage)
    assert (whole.enqueued, whole.started) == (4, 4)
    assert (whole.completed, whole.dead, whole.retried) == (1, 1, 2)
    assert (whole.run.count, whole.total.count) == (1, 1)
    assert figures(storage, kind="failed").retried == 1


def test_times_are_those_of_the_job(storage: Storage, sql: Sql) -> None:
    task = HeldTask()
    due = from_micros(sql.now_us()) + timedelta(seconds=0.5)
    job_id = add(storage, "held", run_at=due)

    with running(storage, registry_of(task)):
        task.wait_for_start()
        since = time.monotonic()
        wait_until(lambda: time.monotonic() - since > 0.1, "a while")
        task.release.set()
        wait_for_status(storage, job_id, JobStatus.DONE)

    whole = figures(storage)
    job = storage.job_reader.get(job_id)
    assert job.completed_at is not None
    lasted_us = (job.completed_at - job.enqueued_at) / MICROSECOND
    not_due_us = (job.scheduled_at - job.enqueued_at) / MICROSECOND
    assert whole.run.sum_us >= 100_000
    # The row is stamped when the end is stored, a moment after the run ended.
    assert whole.run.sum_us <= whole.total.sum_us <= lasted_us
    wait = storage.metrics.counters().times["default"].wait
    assert wait.sum_us == pytest.approx(
        whole.total.sum_us - whole.run.sum_us - not_due_us, abs=10
    )


def test_a_job_given_back_before_it_started_counts_for_nothing(
    storage: Storage,
) -> None:
    held = HeldTask()
    add(storage, "held")
    with running(storage, registry_of(held), threads=1):
        held.wait_for_start()
        add(storage, "held")
        held.release.set()

    whole = figures(storage)
    runs = whole.completed + whole.dead + whole.retried
    assert whole.started == runs


def test_a_run_that_its_process_never_ended_is_retried_or_failed(
    storage: Storage,
) -> None:
    storage.jobs.enqueue(NewJob("send", max_attempts=1))
    storage.jobs.enqueue(NewJob("send"))
    storage.jobs.claim("default", "gone", 2)

    rescue_all(storage)

    whole = figures(storage)
    assert (whole.enqueued, whole.retried, whole.dead) == (2, 1, 1)
