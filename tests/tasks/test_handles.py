"""The handle on a job, in an application."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from flask_forge_jobs import (
    Dead,
    ForgeJobs,
    InvalidInputError,
    JobNotFoundError,
    JobStateError,
    TaskContext,
)
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.jobs.reader import JobReader
from flask_forge_jobs.testing import JobsKit
from tests.support.threads import LIMIT_S

UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
TOMORROW = datetime(2199, 1, 1, tzinfo=UTC)

forge = ForgeJobs()
seen: list[Any] = []


@forge.task
def add(first: int, second: int = 1) -> int:
    return first + second


@forge.task(queue="mail")
def end(text: str) -> None:
    raise Dead(text)


@forge.task
def report(context: TaskContext, of: int) -> None:
    context.set_progress({"done": 1, "of": of})
    seen.append(forge.job(context.job_id))


begun = threading.Event()


@forge.task
def loop(context: TaskContext) -> None:
    for round_ in itertools.count():
        begun.set()
        context.progress(round_)
        context.sleep(LIMIT_S)


@forge.task
def lose() -> None:
    raise KeyError("id")


@forge.task
def give() -> object:
    return returned.pop()


returned: list[object] = []


@pytest.fixture(autouse=True)
def kit() -> Iterator[JobsKit]:
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///:memory:"
    forge.init_app(app)
    with JobsKit(app) as kit, app.app_context():
        yield kit


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that have been read so far."""
    ids: list[str] = []
    get = JobReader.get

    def counted(reader: JobReader, job_id: str) -> Any:
        ids.append(job_id)
        return get(reader, job_id)

    monkeypatch.setattr(JobReader, "get", counted)
    return ids


def test_a_handle_follows_its_job(kit: JobsKit) -> None:
    job = add.enqueue(2, second=3)
    before = (job.status, job.is_ready, job.is_successful, job.result, job.error)

    kit.drain()

    assert before == ("pending", False, False, None, None)
    assert (job.status, job.is_ready, job.is_successful) == ("done", True, True)
    assert job.result == 5
    assert forge.job(job.id).result == 5


def test_a_handle_tells_why_its_job_is_dead(kit: JobsKit) -> None:
    job = forge.enqueue("end", {"text": "no such user"})

    kit.drain(raise_errors=False)

    assert (job.is_ready, job.is_successful, job.status) == (True, False, "dead")
    assert (job.error, job.result) == ("no such user", None)


def test_an_error_keeps_its_type_and_where_it_came_from(kit: JobsKit) -> None:
    job = lose.enqueue()

    kit.drain(raise_errors=False)

    assert job.status == "failed"
    assert job.error == "KeyError: 'id'"
    assert job.traceback is not None
    assert "in lose" in job.traceback


def test_progress_is_decoded_while_the_job_runs(kit: JobsKit) -> None:
    job = report.enqueue(of=3)

    kit.drain()

    assert seen.pop().progress == {"done": 1, "of": 3}
    assert job.progress == {"done": 1, "of": 3}


@pytest.mark.parametrize(
    ("value", "words"), [({1}, "set"), ("x" * 65_536, "65538"), (float("nan"), "")]
)
def test_a_result_that_cannot_be_kept_is_shown_as_such(
    kit: JobsKit, value: object, words: str
) -> None:
    returned.append(value)
    job = give.enqueue()

    (ran,) = kit.drain()

    assert job.is_successful
    assert job.result is None
    assert job.result_error is not None
    assert words in job.result_error
    assert ran.result_error == job.result_error
    assert add.enqueue(1).result_error is None


def test_what_was_asked_for_is_known_without_a_look(reads: list[str]) -> None:
    job = end.options(run_at=TOMORROW, dedupe_key="once").enqueue("x")
    same = end.options(dedupe_key="once").enqueue("y")

    assert (job.kind, job.queue_name, job.scheduled_at) == ("end", "mail", TOMORROW)
    assert (job.is_deduped, same.is_deduped, same.is_replaced) == (False, True, False)
    assert same.id == job.id
    assert repr(forge.job(job.id)) == f"<JobHandle {job.id}>"
    assert reads == []
    by_id = forge.job(job.id)
    assert (by_id.kind, by_id.queue_name, by_id.scheduled_at) == (
        "end",
        "mail",
        TOMORROW,
    )
    assert not by_id.is_deduped


def test_a_job_that_has_ended_is_read_once(kit: JobsKit, reads: list[str]) -> None:
    job = add.enqueue(1)
    kit.drain()
    reads.clear()

    assert job.wait(0)
    assert (job.status, job.result, job.progress) == ("done", 2, None)

    assert reads == [job.id]


@pytest.mark.parametrize("job_id", [UNKNOWN, "", "x" * 65, "a\x00b", "\ud800"])
def test_an_unknown_job_is_no_error_where_that_is_asked(job_id: str) -> None:
    job = forge.job(job_id)

    assert not job.exists
    with pytest.raises(JobNotFoundError):
        _ = job.status
    with pytest.raises(JobNotFoundError):
        job.refresh()
    with pytest.raises(JobNotFoundError):
        job.wait(0)
    with pytest.raises(JobNotFoundError):
        job.retry()
    with pytest.raises(JobNotFoundError):
        forge.cancel(job_id)


def test_a_waiting_job_can_be_cancelled_with_a_reason() -> None:
    job = add.enqueue(1)

    assert job.cancel("not needed") == "cancelled"

    assert (job.status, job.error) == ("dead", "cancelled by user: not needed")
    with pytest.raises(JobStateError):
        forge.cancel(job.id)
    with pytest.raises(InvalidInputError, match="reason"):
        job.cancel("x" * 1001)


def test_a_dead_job_can_be_tried_again(kit: JobsKit) -> None:
    job = end.enqueue("x")
    assert not job.retry()
    kit.drain(raise_errors=False)
    assert job.status == "dead"

    assert job.retry()

    assert (job.status, job.is_ready) == ("pending", False)


def test_refresh_sees_that_somebody_else_tried_it_again(kit: JobsKit) -> None:
    job = end.enqueue("x")
    kit.drain(raise_errors=False)
    assert job.is_ready
    forge.job(job.id).retry()

    assert job.is_ready  # as it ended
    assert not job.refresh().is_ready


def test_every_job_of_many_has_a_handle(kit: JobsKit) -> None:
    jobs = forge.enqueue_many(add.job(n) for n in range(3))

    kit.drain()

    assert [job.result for job in jobs] == [1, 2, 3]


def test_an_inline_job_has_ended_when_its_handle_is_there(kit: JobsKit) -> None:
    kit.mode = "inline"

    assert add.enqueue(1).result == 2


def test_a_cancel_reaches_a_task_that_runs_and_who_waits_hears_of_its_end(
    kit: JobsKit,
) -> None:
    job = loop.enqueue()
    worker = state_of(kit.app).runtime(1).with_queues(["default"]).start()
    try:
        assert begun.wait(LIMIT_S)
        assert not job.is_ready

        assert forge.cancel(job.id) == "cancel_requested"

        assert job.wait(LIMIT_S)
        assert (job.status, job.error) == ("dead", "cancelled by user")
    finally:
        worker.shutdown_graceful(LIMIT_S)


@pytest.mark.parametrize("timeout_s", [-1, math.nan, "5", None, timedelta(1)])
def test_wait_refuses_what_is_no_number_of_seconds(timeout_s: Any) -> None:
    with pytest.raises(InvalidInputError, match="timeout_s"):
        add.enqueue(1).wait(timeout_s)
