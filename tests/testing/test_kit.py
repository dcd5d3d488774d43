"""The kit on an application whose database is nobody else's."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

import pytest
from flask import Flask, current_app, g

from flask_forge_jobs import (
    Dead,
    ForgeJobs,
    InvalidInputError,
    JobStatus,
    NewJob,
    TaskContext,
    current_job,
)
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.state import state_of
from flask_forge_jobs.testing import JobsKit
from tests.testing.conftest import MakeApp

# -- where the jobs are ----------------------------------------------------------------


def test_jobs_of_a_test_are_in_memory_and_end_with_it(
    app: Flask, forge: ForgeJobs, tmp_path: Path
) -> None:
    for _ in range(2):
        with JobsKit(app) as jobs, app.app_context():
            assert jobs.enqueued() == []
            forge.enqueue("any")
            assert [job.kind for job in jobs.enqueued()] == ["any"]
            assert app.testing

    assert not app.testing
    assert not (tmp_path / "instance").exists()


def test_nothing_of_a_test_before_is_known(app: Flask, forge: ForgeJobs) -> None:
    """Many applications are made once, for all tests."""
    for _ in range(2):
        with JobsKit(app), app.app_context():
            forge.enqueue("any", queue="own")
            assert [queue.name for queue in forge.storage.queues.all()] == ["own"]


def test_an_application_that_has_opened_its_file_leaves_it(
    app: Flask, forge: ForgeJobs, tmp_path: Path
) -> None:
    with app.app_context():
        forge.enqueue("real")
    file = tmp_path / "instance" / "queue.sqlite"
    with JobsKit(app) as jobs, app.app_context():
        forge.enqueue("test")
        jobs.drain()
        assert [job.kind for job in jobs.enqueued()] == ["test"]

    with contextlib.closing(sqlite3.connect(file)) as beside:
        assert beside.execute("SELECT kind FROM forge_job").fetchall() == [("real",)]


def test_a_database_that_is_named_is_used_and_kept(
    make_app: MakeApp, forge: ForgeJobs, database_url: str
) -> None:
    app = make_app(FORGE_JOBS_DATABASE_URL=database_url)
    ran: list[str] = []

    @forge.task
    def work(mark: str) -> None:
        ran.append(mark)

    with app.app_context():
        work.enqueue("before")
    with JobsKit(app) as jobs, app.app_context():
        work.enqueue("in the test")
        assert [job.payload for job in jobs.enqueued()] == ['{"mark":"in the test"}']
        assert [each.status for each in jobs.drain()] == [JobStatus.DONE] * 2

    assert ran == ["before", "in the test"]
    storage = state_of(app).storage
    assert len(storage.job_reader.kinds()) == 1
    storage.close()


# -- drain -----------------------------------------------------------------------------


def test_drain_runs_what_is_due_and_what_that_enqueues(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task
    def first(number: int) -> int:
        second.enqueue(number + 1)
        return number

    @forge.task(queue="other")
    def second(number: int) -> list[int]:
        return [number]

    first.enqueue(1)
    first.options(run_at=jobs.clock.now() + timedelta(hours=1)).enqueue(5)
    ran = jobs.drain()

    assert [(each.kind, each.args, each.result) for each in ran] == [
        ("first", {"number": 1}, 1),
        ("second", {"number": 2}, [2]),
    ]
    assert jobs.drain() == []


def test_drain_of_some_queues_leaves_the_others(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task
    def work() -> None: ...

    work.options(queue="a").enqueue()
    work.options(queue="b").enqueue()

    assert [each.job.queue_name for each in jobs.drain("b")] == ["b"]
    assert [each.job.queue_name for each in jobs.drain()] == ["a"]


def test_what_is_no_ordinary_exception_ends_the_test(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task
    def asks() -> None:
        pytest.fail("not like this")

    asks.enqueue()

    with pytest.raises(pytest.fail.Exception, match="not like this"):
        jobs.drain()
    assert jobs.enqueued()[0].status is JobStatus.FAILED


def test_each_job_has_a_context_of_its_own(
    jobs: JobsKit, forge: ForgeJobs, app: Flask
) -> None:
    g.mark = "the test's"

    @forge.task
    def work(context: TaskContext) -> list[object]:
        context.set_progress({"done": 1})
        return ["mark" in g, current_app.name, current_job.job_id == context.job_id]

    work.enqueue()
    (ran,) = jobs.drain()

    assert ran.result == [False, app.name, True]
    assert ran.job.progress == '{"done":1}'


def test_a_task_that_enqueues_itself_without_end_is_stopped(
    jobs: JobsKit, forge: ForgeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_forge_jobs.testing.kit.MAX_AT_ONCE", 3)

    @forge.task
    def again() -> None:
        again.enqueue()

    again.enqueue()

    with pytest.raises(RuntimeError, match=r"4 jobs have run .* does again enqueue"):
        jobs.drain()


def test_drain_raises_what_a_task_raises(jobs: JobsKit, forge: ForgeJobs) -> None:
    """With its own frames first, after the outcome is stored; others wait."""
    more: list[int] = []

    @forge.task
    def fails(number: int) -> None:
        raise KeyError(number)

    @forge.task
    def work() -> None:
        more.append(1)

    failed = fails.enqueue(7)
    work.enqueue()

    with pytest.raises(KeyError) as caught:
        jobs.drain()

    assert [entry.name for entry in caught.traceback][-1] == "fails"
    (note,) = caught.value.__notes__
    assert note.startswith("raised by a job of fails; drain(raise_errors=False) ")
    assert (failed.status, failed.error, more) == ("failed", "KeyError: 7", [])
    assert [each.status for each in jobs.drain()] == [JobStatus.DONE]


def test_drain_leaves_errors_to_the_runs_if_told_so(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task
    def fails() -> None:
        raise KeyError("id")

    @forge.task
    def gives_up() -> Dead:
        return Dead("no such user")

    fails.enqueue()
    gives_up.enqueue()
    with pytest.raises(KeyError):
        jobs.drain()
    with pytest.raises(Dead, match="no such user"):
        jobs.drain()

    fails.enqueue()
    gives_up.enqueue()
    jobs.raise_errors = False
    failed, dead = jobs.drain()
    assert repr(failed.error) == "KeyError('id')"
    assert "KeyError('id')" in repr(failed)
    assert (dead.status, dead.error) == (JobStatus.DEAD, None)


def test_a_drain_of_a_thousand_jobs_is_not_endless(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task
    def work(number: int) -> None:
        pass

    forge.enqueue_many(work.job(number) for number in range(1000))

    assert len(jobs.drain()) == 1000


def test_every_job_of_a_test_is_looked_at(jobs: JobsKit, forge: ForgeJobs) -> None:
    @forge.task
    def work(number: int) -> None:
        pass

    forge.enqueue_many(work.job(number) for number in range(1001))

    payloads = [load_text(job.payload) for job in jobs.enqueued(work)]
    assert payloads == [{"number": number} for number in range(1001)]
    for number in (0, 1000):
        jobs.assert_enqueued(work, args={"number": number})
        with pytest.raises(AssertionError, match="jobs were enqueued for"):
            jobs.assert_not_enqueued(work, args={"number": number})


def test_permits_and_paused_queues_count_as_in_a_worker(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task(max_concurrent=1)
    def alone() -> None: ...

    alone.enqueue()
    alone.options(queue="paused").enqueue()
    forge.storage.queues.change("paused", {"paused": True})

    assert [each.status for each in jobs.drain()] == [JobStatus.DONE]


def test_a_request_in_drain_mode_runs_what_it_enqueued_once_it_is_over(
    app: Flask, forge: ForgeJobs
) -> None:
    seen: list[object] = []

    @forge.task
    def work() -> None:
        seen.append("mark" in g)

    @app.post("/")
    def view() -> str:
        g.mark = True
        work.enqueue()
        seen.append("enqueued")
        return "ok"

    with JobsKit(app, "drain") as jobs:
        assert app.test_client().post("/").text == "ok"
        assert seen == ["enqueued", False]
        jobs.mode = "queued"
        app.test_client().post("/")

    assert seen == ["enqueued", False, "enqueued"]


def test_a_mode_that_is_none_is_refused(app: Flask) -> None:
    with pytest.raises(ValueError, match="'later' is not one of inline"):
        JobsKit(app, "later")  # type: ignore[arg-type]  # what is tested


# -- perform ---------------------------------------------------------------------------


def test_perform_runs_one_task_with_a_full_context(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task(queue="mail", max_attempts=3)
    def send(context: TaskContext, names: Any, *, loud: bool = False) -> object:
        context.set_progress({"done": len(names)})
        context.enqueue(NewJob("next"))
        return names, loud, context.queue_name, context.attempt, "mark" in g

    g.mark = True
    value = jobs.perform(send, ("Ann", "Bob"), loud=True)

    # Through JSON and back, as a job's arguments go.
    assert value == (["Ann", "Bob"], True, "mail", 1, False)
    assert jobs.progress == [{"done": 2}]
    assert [job.kind for job in jobs.enqueued()] == ["next"]


def test_a_type_checker_knows_what_perform_takes_and_returns(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task
    def plain(context: TaskContext, number: int) -> str:
        return f"{context.attempt} {number}"

    @forge.task
    async def later(number: int) -> int:
        return number

    assert assert_type(jobs.perform(plain, 7), str) == "1 7"
    assert assert_type(jobs.perform(later, number=7), int) == 7


def test_perform_raises_what_the_task_raises(jobs: JobsKit, forge: ForgeJobs) -> None:
    @forge.task
    async def fails(how: str) -> None:
        raise Dead(how)

    with pytest.raises(Dead, match="at once"):
        jobs.perform(fails, "at once")
    with pytest.raises(InvalidInputError, match="how"):
        jobs.perform(fails, object())  # type: ignore[call-overload]  # what is tested
    with pytest.raises(InvalidInputError, match="`how` is missing"):
        jobs.perform(fails)  # type: ignore[call-overload]  # what is tested


def test_a_context_of_any_attempt_can_be_made(jobs: JobsKit, forge: ForgeJobs) -> None:
    @forge.task(max_attempts=5)
    def send(context: TaskContext, user_id: int) -> tuple[int, bool]:
        return user_id, context.is_last_attempt

    assert send.function(jobs.context(send, attempt=5), 7) == (7, True)
    assert send.function(jobs.context(send, attempt=4), 7) == (7, False)


# -- the clock -------------------------------------------------------------------------


@pytest.fixture
def midnight(jobs: JobsKit) -> datetime:
    """The instant that it is now."""
    day = jobs.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    jobs.clock.move_to(day + timedelta(days=1))
    return jobs.clock.now()


def test_a_delayed_job_is_due_when_its_time_has_come(
    jobs: JobsKit, forge: ForgeJobs, midnight: datetime
) -> None:
    @forge.task
    def work() -> None: ...

    work.options(run_at=midnight + timedelta(hours=1)).enqueue()

    jobs.clock.move(3599)
    assert jobs.drain() == []
    jobs.clock.move(1)
    assert [each.status for each in jobs.drain()] == [JobStatus.DONE]


def test_a_retry_is_due_after_exactly_its_back_off(
    jobs: JobsKit, forge: ForgeJobs, midnight: datetime
) -> None:
    @forge.task
    def fails() -> None:
        raise OSError

    forge.storage.queues.ensure("default")
    forge.storage.queues.change(
        "default",
        {
            "backoff_enabled": True,
            "backoff_base_seconds": 30,
            "backoff_max_seconds": 3600,
        },
    )
    fails.enqueue()

    for wait_s in (60, 120, 240):
        (failed,) = jobs.drain(raise_errors=False)
        assert failed.job.scheduled_at - jobs.clock.now() == timedelta(seconds=wait_s)
        jobs.clock.move(wait_s - 0.1)
        assert jobs.drain() == []
        jobs.clock.move(0.1)
    assert jobs.clock.now() - midnight == timedelta(seconds=420)


def test_a_schedule_fires_when_its_time_has_come(
    jobs: JobsKit, forge: ForgeJobs, midnight: datetime
) -> None:
    @forge.cron("0 3 * * *", arguments={"deep": True})
    @forge.task
    def nightly(*, deep: bool) -> None: ...

    three = midnight + timedelta(hours=3)

    for day in (timedelta(), timedelta(days=1)):
        jobs.clock.move_to(three + day - timedelta(seconds=1))
        assert jobs.drain() == []
        jobs.clock.move_to(three + day)
        assert [each.args for each in jobs.drain()] == [{"deep": True}]
        jobs.assert_enqueued(nightly, at=three + day)


def test_a_schedule_of_an_operator_fires_with_the_options_of_its_task(
    jobs: JobsKit, forge: ForgeJobs, midnight: datetime
) -> None:
    forge.task(kind="tidy", queue="night", max_attempts=2)(lambda: None)
    forge.storage.cron.create(ScheduleDefinition("nightly", "tidy", "0 3 * * *"))

    jobs.clock.move_to(midnight + timedelta(hours=3))

    (ran,) = jobs.drain()
    assert (ran.job.queue_name, ran.job.max_attempts) == ("night", 2)


def test_a_budget_fills_up_with_the_time(
    jobs: JobsKit, forge: ForgeJobs, midnight: datetime
) -> None:
    forge.rate_limit("slack", capacity=1, refill_per_sec=0.01)

    @forge.task
    def notify(context: TaskContext) -> None:
        context.rate_limit("slack")

    notify.enqueue()
    notify.enqueue()

    assert [each.status for each in jobs.drain()] == [JobStatus.DONE, JobStatus.PENDING]
    jobs.clock.move_to(midnight + timedelta(seconds=90))
    assert jobs.drain() == []
    jobs.clock.move(20)
    assert [each.status for each in jobs.drain()] == [JobStatus.DONE]


def test_a_clock_that_a_test_has_set_back_hides_no_job(
    app: Flask, forge: ForgeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As freezegun and time-machine do, after the fixture was made."""
    with JobsKit(app) as jobs, app.app_context():
        clock = state_of(app).clock
        monkeypatch.setattr(clock, "now_us", lambda: 1_600_000_000_000_000)
        forge.enqueue("any")
        assert jobs.assert_enqueued("any").enqueued_at.year == 2020


def test_the_application_gets_its_clock_back(app: Flask) -> None:
    clock = state_of(app).clock
    with JobsKit(app) as jobs:
        jobs.clock.move(timedelta(days=400))
        moved_us = clock.now_us()

    assert clock.now_us() < moved_us
    assert vars(clock) == {}


def test_kits_of_one_clock_give_it_back_in_turn(app: Flask, make_app: MakeApp) -> None:
    with JobsKit(app) as outer:
        outer.clock.move(timedelta(days=400))
        for each in (app, make_app()):
            with JobsKit(each) as inner:
                inner.clock.move(timedelta(days=400))
        assert state_of(app).clock.now_us() == outer.clock.now_us()

    assert vars(state_of(app).clock) == {}


def test_the_clock_of_a_server_is_not_the_test_s_to_move(
    make_app: MakeApp, postgres_database: str
) -> None:
    with (
        JobsKit(make_app(FORGE_JOBS_DATABASE_URL=postgres_database)) as jobs,
        pytest.raises(
            RuntimeError, match="a test cannot move the clock of a PostgreSQL server"
        ),
    ):
        _ = jobs.clock


def test_a_task_that_wants_a_process_of_its_own_runs_here(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task(isolation="process")
    def whose() -> int:
        return os.getpid()

    whose.enqueue()

    assert [each.result for each in jobs.drain()] == [os.getpid()]


def test_arguments_may_be_given_as_the_task_takes_them(
    jobs: JobsKit, forge: ForgeJobs
) -> None:
    @forge.task
    def ship(day: date) -> int:
        return day.year

    day = date(2026, 6, 1)
    ship.enqueue(day)

    jobs.assert_enqueued(ship, args={"day": day})
    jobs.assert_enqueued(ship, args=(day,))
    jobs.assert_enqueued(ship, args={"day": "2026-06-01"})
    jobs.assert_not_enqueued(ship, args={"day": date(2026, 6, 2)})
    assert jobs.perform(ship, day) == 2026
    assert [ran.result for ran in jobs.drain()] == [2026]


def test_a_database_that_holds_jobs_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be that of development, whose jobs ``drain()`` would run."""

    def make() -> Flask:
        app = Flask("shop")
        app.config["FORGE_JOBS_DATABASE_URL"] = f"sqlite:///{tmp_path}/shop.sqlite"
        ForgeJobs(app)
        return app

    state = state_of(make())
    state.enqueue(NewJob("noop"))
    state.storage.close()

    with JobsKit(make()):
        pass

    assert "already holds 1 jobs" in caplog.text
