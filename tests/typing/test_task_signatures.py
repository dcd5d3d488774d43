"""What a type checker sees of tasks; ``mypy --strict`` runs over this file.

An ``ignore`` below marks a call that must be refused: the checker complains about one
that is not needed.
"""

from __future__ import annotations

from typing import assert_type

import pytest
from flask import Flask

from flask_forge_jobs import (
    ForgeJobs,
    InvalidInputError,
    JobHandle,
    NewJob,
    TaskContext,
    current_job,
)
from flask_forge_jobs.tasks.decorator import BoundTask, Task

forge = ForgeJobs()


@forge.task
def plain(user_id: int, *, name: str = "Ann") -> str:
    return f"{user_id} {name}"


@forge.task()
def empty_parentheses(user_id: int) -> str:
    return str(user_id)


@forge.task(kind="mail.send", queue="mail", max_attempts=3, timeout_s=30)
def with_options(user_id: int) -> str:
    return str(user_id)


@forge.task
def with_context(context: TaskContext, user_id: int) -> int:
    return context.attempt + user_id


@forge.task(queue="mail")
def with_context_and_options(context: TaskContext, user_id: int) -> int:
    return context.attempt + user_id


@forge.task
async def later(user_id: int) -> int:
    return user_id


@forge.cron("@hourly", arguments={"user_id": 7})
@forge.task
def scheduled(user_id: int) -> str:
    return str(user_id)


@forge.cron("@daily", arguments={"user_id": 7})
def scheduled_with_context(context: TaskContext, user_id: int) -> int:
    return context.attempt + user_id


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///:memory:"
    forge.init_app(app)
    return app


def test_a_schedule_leaves_the_signature() -> None:
    assert_type(scheduled(user_id=7), str)
    assert_type(scheduled_with_context.options(priority=1).job(7), NewJob)
    assert isinstance(scheduled_with_context, Task)
    assert [each.name for each in forge.registry.schedules()] == [
        "scheduled", "scheduled_with_context",
    ]  # fmt: skip


def test_tasks_keep_their_signature(app: Flask) -> None:
    with app.app_context():
        assert_type(plain(7), str)
        assert_type(plain.enqueue(7, name="Bob"), JobHandle)
        assert_type(plain.job(7), NewJob)
        assert_type(plain.options(priority=1).enqueue(user_id=7), JobHandle)
        assert_type(plain.options(priority=1).job(user_id=7), NewJob)
        assert_type(empty_parentheses.enqueue(user_id=7), JobHandle)
        assert_type(with_options.enqueue(user_id=7), JobHandle)
        assert_type(later.enqueue(7), JobHandle)


def test_context_is_no_part_of_the_signature(app: Flask) -> None:
    # ``Concatenate`` drops the names, so a checker wants these by position or by name
    # exactly as it wants those of any other task.
    with app.app_context():
        assert_type(with_context.enqueue(7), JobHandle)
        assert_type(with_context.enqueue(user_id=7), JobHandle)
        assert_type(with_context_and_options.enqueue(user_id=7), JobHandle)


def test_wrong_arguments_are_refused_by_the_checker_and_at_run_time() -> None:
    with pytest.raises(InvalidInputError):
        plain.enqueue()  # type: ignore[call-arg]  # user_id is missing
    with pytest.raises(InvalidInputError):
        plain.enqueue(7, age=3)  # type: ignore[call-arg]  # there is no age
    with pytest.raises(InvalidInputError):
        plain.options(priority=1).enqueue(7, "Bob")  # type: ignore[call-arg]  # by name only
    with pytest.raises(InvalidInputError):
        with_context.enqueue(1, 2)  # type: ignore[call-arg]  # the context is no argument
    with pytest.raises(TypeError):
        plain.options(priorty=1)  # type: ignore[call-arg]  # misspelt


def test_many_calls_are_dicts_or_tuples(app: Flask) -> None:
    calls: list[dict[str, int]] = [{"user_id": 7}]
    with app.app_context():
        assert_type(plain.enqueue_many([{"user_id": 7}, (8,)]), list[JobHandle])
        assert_type(
            plain.options(priority=1).enqueue_many((n,) for n in range(2)),
            list[JobHandle],
        )
        assert_type(plain.enqueue_many(calls), list[JobHandle])
    with pytest.raises(InvalidInputError):
        plain.enqueue_many([7])  # type: ignore[list-item]  # not the arguments of a call
    with pytest.raises(InvalidInputError):
        forge.enqueue_many([plain])  # type: ignore[list-item]  # a task is no job


def test_wrong_types_are_refused_by_the_checker() -> None:
    with pytest.raises(InvalidInputError):
        plain.enqueue(b"7")  # type: ignore[arg-type]  # not an int
    with pytest.raises(InvalidInputError):
        plain.options(priority="high").enqueue(7)  # type: ignore[arg-type]  # not an int


def test_types_can_be_named() -> None:
    task: Task[[int], str] = empty_parentheses
    bound: BoundTask[[int]] = empty_parentheses.options(queue="mail")
    context: TaskContext = current_job

    assert task.kind == "empty_parentheses"
    assert bound.job(7).queue_name == "mail"
    assert bool(context) is False
