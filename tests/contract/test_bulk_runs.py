"""Bulk runs: nothing twice, nothing left out, whoever works on them and dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from flask_forge_jobs.errors import BulkRunNotFoundError, TooManyBulkRunsError
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import (
    BulkRunState,
    NewBulkRun,
    RunAuthor,
    conditions_of,
    filter_of,
)
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.storage import bulk_runs, bulk_walk
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.bulk_runs import RunBatches, RunLostError
from flask_forge_jobs.storage.bulk_walk import work_on
from flask_forge_jobs.storage.pace import BATCH
from tests.support.jobs import having
from tests.support.sql import Sql

AUTHOR = RunAuthor("ops", "127.0.0.1", "request-1", "{}")
FIRST, SECOND = "process-1", "process-2"
JOBS = 2 * BATCH + 10
LATER = datetime(2999, 1, 1, tzinfo=UTC)


def begun(storage: Storage, action: JobAction, jobs: int = JOBS) -> str:
    """Store jobs, and a run on them that has not begun to work."""
    storage.jobs.enqueue_many([NewJob("send", queue_name="mail")] * jobs)
    storage.jobs.enqueue(NewJob("send", queue_name="other"))
    job_filter = having(queue_name="mail")
    return storage.bulk_runs.add(
        NewBulkRun(
            action=action,
            jobs=conditions_of(job_filter),
            matched=jobs,
            author=AUTHOR,
            run_at=LATER if action is JobAction.RESCHEDULE else None,
        ),
        FIRST,
    )


def batches(number: int) -> Iterator[bool]:
    """Let a walk go on for some batches."""
    yield from [False] * number
    yield True


def work(storage: Storage, run_id: str, holder: str, number: int | None = None) -> bool:
    if number is None:
        return work_on(storage, run_id, holder, lambda: False)
    left = batches(number)
    return work_on(storage, run_id, holder, lambda: next(left))


def noted(storage: Storage, run_id: str) -> list[int]:
    """Return how many changes each audit entry of a run has."""
    entries = storage.audit.page(AuditFilter(target=run_id), 1000)
    return [entry.record.changed for entry in entries]


def lapse(sql: Sql) -> None:
    """Let every lease lapse, as if its process had died a while ago."""
    sql.run("UPDATE forge_bulk_run SET expires_at = 0")


@pytest.mark.parametrize(
    "action", [JobAction.CANCEL, JobAction.DELETE, JobAction.RESCHEDULE]
)
def test_a_run_acts_on_every_job_and_notes_each_batch(
    storage: Storage, action: JobAction
) -> None:
    run_id = begun(storage, action)

    assert not work(storage, run_id, FIRST)

    run = storage.bulk_runs.get(run_id)
    assert run.state is BulkRunState.DONE
    assert (run.matched, run.changed, run.skipped) == (JOBS, JOBS, 0)
    assert run.ended_at is not None
    assert sum(noted(storage, run_id)) == JOBS
    assert max(noted(storage, run_id)) <= BATCH
    assert storage.job_reader.total(having(queue_name="other")) == 1
    left = storage.job_reader.total(having(JobStatus.PENDING, queue_name="mail"))
    assert left == (JOBS if action is JobAction.RESCHEDULE else 0)


@pytest.mark.parametrize(
    "action", [JobAction.CANCEL, JobAction.DELETE, JobAction.RESCHEDULE]
)
def test_another_process_goes_on_when_the_lease_has_lapsed(
    storage: Storage, sql: Sql, action: JobAction
) -> None:
    run_id = begun(storage, action)
    assert work(storage, run_id, FIRST, 1)

    assert not work(storage, run_id, SECOND)
    assert storage.bulk_runs.lapsed(5) == []
    lapse(sql)
    assert storage.bulk_runs.lapsed(5) == [run_id]
    assert storage.bulk_runs.get(run_id).is_lapsed
    assert not work(storage, run_id, SECOND)

    run = storage.bulk_runs.get(run_id)
    assert (run.state, run.changed) == (BulkRunState.DONE, JOBS)
    assert sum(noted(storage, run_id)) == JOBS
    assert storage.bulk_runs.lapsed(5) == []


def test_another_process_goes_on_when_the_clock_has_stepped_back(
    storage: Storage, sql: Sql
) -> None:
    run_id = begun(storage, JobAction.DELETE, 3)
    sql.run("UPDATE forge_bulk_run SET expires_at = expires_at + 3600000000")

    assert storage.bulk_runs.lapsed(5) == [run_id]
    assert storage.bulk_runs.get(run_id).is_lapsed
    assert not work(storage, run_id, SECOND)

    run = storage.bulk_runs.get(run_id)
    assert (run.state, run.is_lapsed) == (BulkRunState.DONE, False)


def test_a_process_that_has_lost_its_run_changes_nothing_more(
    storage: Storage, sql: Sql
) -> None:
    run_id = begun(storage, JobAction.DELETE)
    run = storage.bulk_runs.get(run_id)
    late = storage.within(RunBatches(storage.database, run, FIRST)).job_admin
    lapse(sql)
    assert work(storage, run_id, SECOND, 1)
    left = storage.job_reader.total(having(queue_name="mail"))

    with pytest.raises(RunLostError):
        late.step(JobAction.DELETE, having(queue_name="mail"))

    assert storage.job_reader.total(having(queue_name="mail")) == left == JOBS - BATCH


@pytest.mark.parametrize("action", [JobAction.CANCEL, JobAction.RESCHEDULE])
@pytest.mark.parametrize("step", [0, 1, 2, 3, 4])
def test_a_crash_at_any_step_counts_no_job_twice(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, action: JobAction, step: int
) -> None:
    """Each batch stores its progress, and then the walk its place."""
    run_id = begun(storage, action)
    advance = RunBatches.advance
    calls = iter(range(1000))

    def crash(self: RunBatches, *args: object, **more: int) -> None:
        if next(calls) == step:
            raise KeyboardInterrupt
        advance(self, *args, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(RunBatches, "advance", crash)
        with pytest.raises(KeyboardInterrupt):
            work(storage, run_id, FIRST)
    assert not work(storage, run_id, FIRST)

    run = storage.bulk_runs.get(run_id)
    assert (run.state, run.changed) == (BulkRunState.DONE, JOBS)
    assert sum(noted(storage, run_id)) == JOBS


def test_a_stopped_run_ends_before_its_next_batch(storage: Storage) -> None:
    run_id = begun(storage, JobAction.DELETE)
    assert work(storage, run_id, FIRST, 1)

    assert storage.bulk_runs.stop(run_id)
    assert not storage.bulk_runs.stop(run_id)
    assert not work(storage, run_id, FIRST)

    run = storage.bulk_runs.get(run_id)
    assert (run.state, run.changed) == (BulkRunState.STOPPED, BATCH)
    assert storage.job_reader.total(having(queue_name="mail")) == JOBS - BATCH


def test_a_run_that_is_stopped_while_it_works_ends_there(storage: Storage) -> None:
    run_id = begun(storage, JobAction.DELETE)
    looks = iter(range(100))

    def stop_once() -> bool:
        if next(looks) == 1:
            storage.bulk_runs.stop(run_id)
        return False

    assert not work_on(storage, run_id, FIRST, stop_once)
    run = storage.bulk_runs.get(run_id)
    assert (run.state, run.changed) == (BulkRunState.STOPPED, BATCH)


def test_a_fault_ends_the_run_and_is_shown(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(storage, JobAction.DELETE, 3)

    def fail(*_: object) -> None:
        raise ValueError("password=hunter2")

    monkeypatch.setattr(bulk_walk, "filter_of", fail)
    assert not work(storage, run_id, FIRST)

    run = storage.bulk_runs.get(run_id)
    assert run.state is BulkRunState.FAILED
    assert run.error is not None
    assert run.error.startswith("ValueError: password=")
    assert "hunter2" not in run.error


def test_a_run_that_cannot_be_read_ends(storage: Storage, sql: Sql) -> None:
    """Or each worker would take it again whenever its lease lapses."""
    run_id = begun(storage, JobAction.DELETE, 3)
    sql.run("UPDATE forge_bulk_run SET jobs = '{'")

    assert not work(storage, run_id, FIRST)

    state = sql.value("SELECT state FROM forge_bulk_run WHERE id = ?", run_id)
    assert state == BulkRunState.FAILED.value


def test_a_run_that_cannot_be_read_hides_no_other(
    storage: Storage, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    older, broken, newer = (begun(storage, JobAction.DELETE, 1) for _ in range(3))
    sql.run("UPDATE forge_bulk_run SET jobs = '{' WHERE id = ?", broken)

    assert [run.id for run in storage.bulk_runs.newest(10)] == [newer, older]
    assert f"bulk run {broken} cannot be read" in caplog.text


def test_runs_are_listed_and_forgotten_after_a_week(storage: Storage, sql: Sql) -> None:
    first = begun(storage, JobAction.DELETE, 1)
    work(storage, first, FIRST)
    second = begun(storage, JobAction.DELETE, 1)
    assert [run.id for run in storage.bulk_runs.newest(5)] == [second, first]

    sql.run("UPDATE forge_bulk_run SET ended_at = 0 WHERE ended_at IS NOT NULL")
    begun(storage, JobAction.DELETE, 1)

    with pytest.raises(BulkRunNotFoundError):
        storage.bulk_runs.get(first)
    assert storage.bulk_runs.get(second).state is BulkRunState.RUNNING


def test_runs_that_have_not_ended_are_bounded(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_runs, "MAX_OF_ACTOR", 2)
    monkeypatch.setattr(bulk_runs, "MAX_OF_ALL", 3)

    def begin(actor: str) -> str:
        author = RunAuthor(actor, "127.0.0.1", "request-1", "{}")
        jobs = conditions_of(having(queue_name="mail"))
        run = NewBulkRun(action=JobAction.DELETE, jobs=jobs, matched=0, author=author)
        return storage.bulk_runs.add(run, FIRST)

    first = begin("ann")
    begin("ann")
    with pytest.raises(TooManyBulkRunsError, match=r"^2 bulk runs of this caller have"):
        begin("ann")
    begin("bob")
    with pytest.raises(TooManyBulkRunsError, match=r"^3 bulk runs have not ended"):
        begin("bob")

    storage.bulk_runs.stop(first)
    begin("ann")
    assert len(storage.bulk_runs.newest(10)) == 4


@pytest.mark.parametrize(
    "job_filter",
    [
        JobFilter(),
        JobFilter(queues=()),
        JobFilter(scheduled=True),
        JobFilter(
            queues=("a", "b"), kinds=("k",), statuses=(JobStatus.DEAD,), scheduled=True,
            enqueued_from=LATER, enqueued_to=LATER, payload_search="p",
            error_search="e", dedupe_key="d", schedule_name="c", min_attempts=3,
            ending=Ending.DEAD, signature="s", slot_id="x",
        ),
    ],
)  # fmt: skip
def test_a_filter_is_stored_as_it_is(storage: Storage, job_filter: JobFilter) -> None:
    run_id = storage.bulk_runs.add(
        NewBulkRun(
            action=JobAction.RETRY,
            jobs=conditions_of(job_filter),
            matched=0,
            author=AUTHOR,
        ),
        FIRST,
    )

    run = storage.bulk_runs.get(run_id)

    assert filter_of(run.jobs) == job_filter
    assert run.queues == (
        None if job_filter.queues is None else frozenset(job_filter.queues)
    )


_CHILD = """
import sys
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.bulk_walk import work_on

def look():
    print("batch", flush=True)

url, run_id = sys.argv[1:]
work_on(open_storage(DatabaseSettings.from_url(url)), run_id, "child", look)
"""


@pytest.mark.parametrize("action", [JobAction.DELETE, JobAction.RESCHEDULE])
def test_a_killed_process_loses_nothing_and_repeats_nothing(
    storage: Storage, sql: Sql, database_url: str, action: JobAction
) -> None:
    jobs = 20 * BATCH
    run_id = begun(storage, action, jobs)
    lapse(sql)
    command = [sys.executable, "-c", _CHILD, database_url, run_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(3):
            assert child.stdout.readline() == "batch\n"
        child.kill()
    before = storage.bulk_runs.get(run_id)
    assert before.state is BulkRunState.RUNNING
    assert 2 * BATCH <= before.changed < jobs
    lapse(sql)

    assert not work(storage, run_id, SECOND)

    run = storage.bulk_runs.get(run_id)
    assert (run.state, run.changed, run.skipped) == (BulkRunState.DONE, jobs, 0)
    assert sum(noted(storage, run_id)) == jobs
    if action is JobAction.DELETE:
        assert storage.job_reader.total(having(queue_name="mail")) == 0
