"""Bulk runs: how they begin, and the threads that work on them."""

from __future__ import annotations

import threading
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from flask_forge_jobs.errors import CountDiffersError, InvalidInputError
from flask_forge_jobs.handlers import bulk_runs
from flask_forge_jobs.handlers.bulk_actions import Instruction
from flask_forge_jobs.handlers.bulk_runs import BulkRunner, begin
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import BulkRun, BulkRunState, RunAuthor, filter_of
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import each_backend
from tests.support.jobs import having

AUTHOR = RunAuthor("ops", "127.0.0.1", "request-1", "{}")


def asked(storage: Storage, **values: object) -> BulkRun:
    instruction = Instruction(action=JobAction.DELETE, **values)  # type: ignore[arg-type]
    return begin(storage, instruction, AUTHOR, "web-1", within=["mail"])


def test_a_run_begins_with_the_number_of_its_jobs(storage: Storage) -> None:
    storage.jobs.enqueue_many(
        [NewJob("send", queue_name="mail")] * 3 + [NewJob("send", queue_name="other")]
    )

    run = asked(storage, is_all=True, expected=3)

    assert run.matched == 3
    assert run.jobs == {"queues": ["mail"]}
    assert run.state is BulkRunState.RUNNING


def test_a_run_keeps_the_instants_of_its_filter_in_any_zone(storage: Storage) -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))

    run = asked(storage, job_filter=JobFilter(enqueued_to=noon))

    assert filter_of(run.jobs).enqueued_to == noon


def test_a_run_needs_a_condition_and_the_expected_number(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob("send", queue_name="mail")] * 12)

    with pytest.raises(InvalidInputError, match="all"):
        asked(storage, job_filter=JobFilter())
    with pytest.raises(CountDiffersError):
        asked(storage, is_all=True, expected=1)
    assert storage.bulk_runs.newest(5) == []


@each_backend
def test_a_thread_works_on_a_run_to_its_end(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob("send", queue_name="mail")] * 3)
    runner = BulkRunner()
    instruction = Instruction(action=JobAction.DELETE, is_all=True)
    run = begin(storage, instruction, AUTHOR, runner.holder)

    thread = runner.start(storage, run.id)

    assert thread is not None
    thread.join(60)
    assert storage.bulk_runs.get(run.id).state is BulkRunState.DONE
    assert storage.job_reader.total(having()) == 0


def test_a_process_has_few_threads_and_one_for_each_run(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(bulk_runs, "work_on", lambda *_: go_on.wait(60))
    runner = BulkRunner()

    first, again = runner.start(storage, "1"), runner.start(storage, "1")
    second, third = runner.start(storage, "2"), runner.start(storage, "3")

    assert first is not None
    assert first is again
    assert second is not None
    assert third is None
    go_on.set()
    first.join(60)
    later = runner.start(storage, "3")
    assert later is not None
    for thread in (second, later):
        thread.join(60)
