"""Batches, and jobs that wait for others, in a caller's transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    BatchNotFoundError,
    InvalidInputError,
    JobNotFoundError,
)
from flask_forge_jobs.model.batches import BatchState, NewBatch
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.storage.base import Storage
from tests.support.callers import Caller
from tests.support.jobs import enqueue, run
from tests.support.sql import Sql

REPORT = NewBatch("report")


@pytest.fixture
def caller(database_settings: DatabaseSettings) -> Iterator[Caller]:
    """An application with connections of its own to the database."""
    with contextlib.closing(Caller(database_settings)) as opened:
        yield opened


def after(*parents: str) -> NewJob:
    return NewJob("child", queue_name="child", after=parents)


def test_a_commit_brings_a_batch_and_its_links(
    storage: Storage, caller: Caller
) -> None:
    ids = storage.mint(2)
    jobs = [NewJob("part"), after(ids[0])]
    with caller.connected() as connection:
        created = storage.batches.create(REPORT, jobs, ids=ids, connection=connection)
        with pytest.raises(BatchNotFoundError):
            storage.batches.get(created.id)
        storage.batches.tend()

        connection.commit()

    assert storage.batches.get(created.id).unfinished == 2
    run(storage, Done())
    run(storage, Done(), queue_name="child")
    storage.batches.tend()
    assert storage.batches.get(created.id).state is BatchState.DONE


def test_a_rollback_leaves_no_batch_and_no_link(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    with caller.connected() as connection:
        parent = storage.jobs.enqueue(NewJob("noop"), connection=connection).id
        storage.jobs.enqueue(after(parent), connection=connection)
        created = storage.batches.create(REPORT, [NewJob("a")], connection=connection)
        storage.batches.add(created.id, [NewJob("b")], connection=connection)

        connection.rollback()

    for table in ("job", "link", "batch", "batch_range", "batch_change"):
        if table != "batch_change" or storage.database.backend == "postgres":
            assert sql.value(f"SELECT COUNT(*) FROM forge_{table}") == 0


def test_a_job_may_wait_for_one_of_an_earlier_call(
    storage: Storage, caller: Caller
) -> None:
    with caller.connected() as connection:
        parent = storage.jobs.enqueue(NewJob("noop"), connection=connection).id
        child = storage.jobs.enqueue(after(parent), connection=connection).id
        batch = storage.batches.create(REPORT, [NewJob("part")], connection=connection)
        last = storage.jobs.enqueue(after(batch.id), connection=connection).id

        connection.commit()

    assert storage.job_reader.get(child).is_waiting
    run(storage, Done())
    assert run(storage, Done(), queue_name="child").id == child
    assert storage.job_reader.get(last).is_waiting
    run(storage, Done())
    storage.batches.tend()
    assert run(storage, Done(), queue_name="child").id == last


def test_an_unfinished_job_of_another_transaction_is_refused(
    storage: Storage, caller: Caller
) -> None:
    """The caller's transaction would lock it, and a worker could not end it."""
    parent = enqueue(storage)
    batch = storage.batches.create(REPORT, [NewJob("part")]).id
    with caller.connected() as connection:
        for each in (parent, batch):
            with pytest.raises(InvalidInputError, match="not of this transaction"):
                storage.jobs.enqueue(after(each), connection=connection)
            with pytest.raises(InvalidInputError, match="not of this transaction"):
                storage.batches.create(REPORT, [after(each)], connection=connection)
        storage.jobs.enqueue(NewJob("noop"), connection=connection)

        connection.commit()

    assert [run(storage, Done()).kind for _ in range(3)] == ["noop", "part", "noop"]


def test_an_end_before_the_transaction_counts(storage: Storage, caller: Caller) -> None:
    enqueue(storage)
    parent = run(storage, Done("7")).id
    batch = storage.batches.create(REPORT, []).id
    storage.batches.tend()
    with caller.connected() as connection:
        child = storage.jobs.enqueue(after(parent, batch), connection=connection).id
        with pytest.raises(JobNotFoundError):
            storage.jobs.enqueue(after("0" * 26), connection=connection)

        connection.commit()

    assert run(storage, Done(), queue_name="child").id == child
    assert storage.links.parents_of(child)[0].result == "7"


def test_a_duplicate_in_a_transaction_is_neither_linked_nor_counted(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    held = enqueue(storage, "part", key="k")
    with caller.connected() as connection:
        parent = storage.jobs.enqueue(NewJob("noop"), connection=connection).id
        jobs = [NewJob("part", dedupe_key="k", after=[parent]), NewJob("part")]
        created = storage.batches.create(REPORT, jobs, connection=connection)

        connection.commit()

    assert created.results[0].id == held
    assert storage.batches.get(created.id).total == 1
    assert sql.value("SELECT COUNT(*) FROM forge_link") == 0
