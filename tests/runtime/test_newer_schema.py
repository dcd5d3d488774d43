"""A worker that runs while a newer package migrates the database (E11)."""

from __future__ import annotations

import contextlib

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.runtime.foreground import EXIT_TAINTED, run_in_foreground
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import each_backend
from tests.support.jobs import rescue_all
from tests.support.later_steps import BREAKING, migrated
from tests.support.runtimes import (
    LIMIT_S,
    HeldTask,
    QuickTask,
    add,
    registry_of,
    running,
    wait_for_status,
)
from tests.support.sql import Sql
from tests.support.waiting import wait_until

LEASE_S = 1.5


def test_a_worker_that_has_nothing_to_do_notices_as_well(
    storage: Storage, sql: Sql
) -> None:
    with running(storage, registry_of(QuickTask()), lease_s=LEASE_S) as handle:
        with sql.newer_schema():
            wait_until(lambda: handle.is_outdated, "the worker has noticed")
        job_id = add(storage, "quick")
        handle.shutdown_graceful(0.0)

    assert storage.job_reader.get(job_id).status is JobStatus.PENDING


@each_backend
def test_a_worker_claims_nothing_after_a_breaking_step_although_jobs_wait(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    """The next claim is refused, however long ago the last heartbeat was."""
    task = QuickTask()
    with running(storage, registry_of(task)) as handle:
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        with migrated(database_settings, BREAKING) as later:
            ids = [add(later, "quick") for _ in range(8)]
            wait_until(lambda: handle.is_outdated or len(task.job_ids) > 8, "its end")
            statuses = {later.job_reader.get(job_id).status for job_id in ids}
            handle.shutdown_graceful(0.0)

    assert statuses == {JobStatus.PENDING}
    assert len(task.job_ids) == 1


def test_a_job_that_runs_at_a_breaking_step_is_not_lost(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    """Its outcome is not stored: whoever reads it is newer than who wrote it."""
    task = HeldTask()
    with running(storage, registry_of(task)) as handle:
        job_id = add(storage, "held")
        task.wait_for_start()
        with migrated(database_settings, BREAKING) as later:
            task.release.set()
            wait_until(lambda: handle.is_outdated, "the outcome was refused")
            assert handle.shutdown_graceful(LIMIT_S)
            assert later.job_reader.get(job_id).status is JobStatus.IN_PROGRESS
            assert rescue_all(later) == 1
            job = later.job_reader.get(job_id)

    assert job.status in {JobStatus.PENDING, JobStatus.FAILED}  # it will run again
    assert job.crashes == 1


def test_a_worker_in_the_foreground_ends_once_the_schema_is_newer(
    storage: Storage, sql: Sql
) -> None:
    with contextlib.ExitStack() as stack:
        task = QuickTask(function=lambda _: stack.enter_context(sql.newer_schema()))
        runtime = QueueRuntime(storage, registry_of(task), lease_s=LEASE_S)
        runtime.with_queues(["default"])
        add(storage, "quick")
        status = run_in_foreground(runtime, grace_s=1.0, environ={})

    assert status == EXIT_TAINTED
