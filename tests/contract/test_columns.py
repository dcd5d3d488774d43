"""Every statement that stores a new job stores all of its columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest

from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.columns import JOB, NEW_JOB, SUMMARY, new_parameters

# A value for each column that is only copied, other than its default.
VALUES = {
    "kind": "send",
    "payload": '{"user":7}',
    "priority": -3,
    "max_attempts": 7,
    "timeout_s": 1.5,
    "schedule_name": "nightly",
    "carried": '{"trace":"1"}',
}


def alone(storage: Storage, job: NewJob) -> str:
    return storage.jobs.enqueue(job).id


def among_many(storage: Storage, job: NewJob) -> str:
    """As most jobs are, without a schedule."""
    plain = job.with_checked(schedule_name=None)
    return storage.jobs.enqueue_many([plain, plain])[0].id


def among_many_with_a_key(storage: Storage, job: NewJob) -> str:
    keyed = job.with_checked(dedupe_key="key")
    return storage.jobs.enqueue_many([keyed, job])[0].id


def quietly(storage: Storage, job: NewJob) -> str:
    """As if the notification queue of PostgreSQL were full."""
    job_id = UlidGenerator().new()
    is_quiet = storage.database.backend == "postgres"
    name = "enqueue_quietly" if is_quiet else "enqueue"
    storage.database.execute(name, **new_parameters(job, job_id))
    return job_id


def test_a_value_differs_from_the_default_of_its_column() -> None:
    made = {"id", "queue_name", "run_at", "dedupe_key"}
    defaults = {each.name: each.default for each in fields(NewJob)}

    assert VALUES.keys() == NEW_JOB.keys() - made
    assert all(defaults[name] != value for name, value in VALUES.items())


@pytest.mark.parametrize("store", [alone, among_many, among_many_with_a_key, quietly])
def test_each_way_to_store_a_job_keeps_all_columns(
    storage: Storage, store: Callable[[Storage, NewJob], str]
) -> None:
    storage.queues.ensure("mail")
    job_id = store(storage, NewJob(queue_name="mail", **VALUES))  # type: ignore[arg-type]  # values of all types

    job = storage.job_reader.get(job_id)

    expected = VALUES | ({"schedule_name": None} if store is among_many else {})
    assert {name: getattr(job, name) for name in VALUES} == expected
    assert (job.id, job.queue_name) == (job_id, "mail")
    assert job.scheduled_at == job.enqueued_at


def test_a_line_of_a_listing_begins_with_the_id() -> None:
    """Which names a damaged row."""
    assert SUMMARY[0] == JOB[0] == "id"
