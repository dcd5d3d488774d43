"""A worker that runs while a newer package migrates the database (E11)."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.runtime.foreground import EXIT_TAINTED, run_in_foreground
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.runtime.schema_watch import SchemaWatch
from flask_forge_jobs.storage.base import Storage
from tests.support.runtimes import QuickTask, add, registry_of, running, wait_until
from tests.support.sql import Sql

LEASE_S = 1.5


def test_a_schema_that_this_code_knows_is_no_reason_to_stop(storage: Storage) -> None:
    watch = SchemaWatch(storage.database, lease_s=LEASE_S)

    watch.tick()

    assert not watch.is_outdated


def test_a_newer_step_that_older_code_can_read_is_none_either(
    storage: Storage, sql: Sql
) -> None:
    """D44: additive steps keep the number of the oldest reader."""
    sql.run(
        "INSERT INTO forge_schema (version, oldest_reader, name, applied_at) "
        "VALUES (99, 1, 'additive', 0)"
    )
    watch = SchemaWatch(storage.database, lease_s=LEASE_S)

    watch.tick()
    sql.run("DELETE FROM forge_schema WHERE version = 99")

    assert not watch.is_outdated


def test_a_newer_schema_is_told_once_with_both_versions(
    storage: Storage, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    watch = SchemaWatch(storage.database, lease_s=LEASE_S)

    with sql.newer_schema():
        watch.tick()
        watch.tick()

    assert watch.is_outdated
    assert caplog.text.count("claiming no more: schema version 99: ") == 1
    assert "this package knows" in caplog.text


def test_a_worker_claims_no_more_once_the_schema_is_newer(
    storage: Storage, sql: Sql
) -> None:
    with running(storage, registry_of(QuickTask()), lease_s=LEASE_S) as handle:
        with sql.newer_schema():
            wait_until(lambda: handle.is_outdated, "the worker has noticed")
        job_id = add(storage, "quick")
        handle.shutdown_graceful(0.0)

    assert storage.job_reader.get(job_id).status is JobStatus.PENDING


def test_a_worker_in_the_foreground_ends_once_the_schema_is_newer(
    storage: Storage, sql: Sql
) -> None:
    runtime = QueueRuntime(storage, registry_of(QuickTask()), lease_s=LEASE_S)
    runtime.with_queues(["default"])

    with sql.newer_schema():
        status = run_in_foreground(runtime, grace_s=1.0, environ={})

    assert status == EXIT_TAINTED
