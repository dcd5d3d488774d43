"""A task that takes a context can be called in a view, a shell and a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from flask_forge_jobs import (
    ForgeJobs,
    KindPrefixRouter,
    NewJob,
    Snooze,
    TaskContext,
    current_job,
)
from flask_forge_jobs.state import state_of
from flask_forge_jobs.tasks.direct_calls import DirectCalls
from tests.support.clocks import MovingClock
from tests.support.runtimes import NO_RATE_LIMITS
from tests.tasks.conftest import Outbox

forge = ForgeJobs()


@forge.task(queue="mail", max_attempts=3, timeout_s=30)
def send(context: TaskContext, user_id: int) -> tuple[object, ...]:
    context.set_progress({"done": 1})
    own = current_job.job_id == context.job_id
    return user_id, context.kind, context.queue_name, context.attempt, own


@forge.task
def limit_calls(context: TaskContext) -> None:
    context.rate_limit("slack")


@forge.task
def follow(context: TaskContext) -> str:
    return context.enqueue(NewJob("next")).kind


def test_a_task_with_a_context_is_called_without_a_worker_or_an_application() -> None:
    assert send(7) == (7, "send", "mail", 1, True)
    assert bool(current_job) is False


def test_the_context_ends_with_a_call_that_fails() -> None:
    with pytest.raises(TypeError):
        send(*(7, 8))  # type: ignore[call-arg]  # what is tested

    assert bool(current_job) is False


def test_it_reaches_the_queue_of_the_current_application(tmp_path: Path) -> None:
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///:memory:"
    forge.init_app(app)
    forge.rate_limit("slack", capacity=1, refill_per_sec=0.001)
    state = state_of(app)
    for bucket in forge.registry.rate_limits():
        state.storage.rate_limits.declare(bucket)

    with app.app_context():
        assert follow() == "next"
        limit_calls()
        with pytest.raises(Snooze):
            limit_calls()

    assert state.storage.job_reader.kinds() == ["next"]
    state.storage.close()


def test_without_an_application_it_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="needs an application context"):
        follow()


def test_attempt_limit_and_time_left_can_be_seen(outbox: Outbox) -> None:
    clock = MovingClock()
    reports: list[str] = []
    outside = DirectCalls(
        clock=clock,
        router=KindPrefixRouter({"limit": "slow"}),
        enqueue=outbox.enqueue,
        rate_limits=NO_RATE_LIMITS,
    )

    context = outside.context(send, attempt=3, progress_sink=reports.append)
    clock.move(10)

    assert context.is_last_attempt
    assert not outside.context(send, attempt=3, max_attempts=4).is_last_attempt
    assert context.seconds_left() == 20
    assert outside.context(limit_calls).queue_name == "slow"
    context.set_progress(5)
    assert reports == ["5"]
