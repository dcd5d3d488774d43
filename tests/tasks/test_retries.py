"""When a job that failed is tried again, and when it is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs import EndedJob, ForgeJobs, exponential
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.outcomes import Dead, Failed, FollowUp, Outcome
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.retries import MAX_DELAY_S, RetryPolicy


def delays_s(retry: Any, attempts: int = 6) -> list[float]:
    policy = RetryPolicy.of(retry)
    return [policy.delay_s(attempt, None) for attempt in range(1, attempts + 1)]


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (None, [15, 60, 240, 960, 3840, 15_360]),
        (30, [30] * 6),
        (0, [0] * 6),
        (0.5, [0.5] * 6),
        (timedelta(minutes=2), [120] * 6),
        ([1, timedelta(minutes=1), 300], [1, 60, 300, 300, 300, 300]),
        (exponential(1, 2, max_s=10), [1, 2, 4, 8, 10, 10]),
        (exponential(factor=1), [15] * 6),
    ],
)
def test_delays_by_attempt(retry: Any, expected: list[float]) -> None:
    assert delays_s(retry) == expected


def test_the_default_comes_back_within_a_tenth_of_its_delay() -> None:
    policy = RetryPolicy.of()

    assert policy.delay_s(1, lambda: 0.0) == pytest.approx(13.5)
    assert policy.delay_s(1, lambda: 0.5) == 15
    assert policy.delay_s(4, lambda: 1.0) == pytest.approx(1056)
    assert RetryPolicy.of([10]).delay_s(1, lambda: 0.9) == 10


@given(
    st.integers(-5, 100_000),
    st.floats(0.001, 1e6),
    st.floats(1, 1e6),
    st.floats(0, 1, exclude_max=True),
)
def test_no_attempt_waits_longer_than_the_longest_delay(
    attempt: int, first_s: float, factor: float, spread: float
) -> None:
    delays = exponential(first_s, factor, max_s=1e6, jitter=0.5)

    assert 0 < delays.delay_s(attempt, lambda: spread) <= 1.5e6


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"retry": -1}, "retry"),
        ({"retry": True}, "retry"),
        ({"retry": "soon"}, "retry"),
        ({"retry": float("nan")}, "retry"),
        ({"retry": MAX_DELAY_S + 1}, "retry"),
        ({"retry": []}, "retry"),
        ({"retry": [1, "2"]}, "retry[1]"),
        ({"retry_on": "ValueError"}, "retry_on"),
        ({"retry_on": [ValueError, 7]}, "retry_on"),
        ({"dead_on": int}, "dead_on"),
        ({"dead_on": ValueError("x")}, "dead_on"),
    ],
)
def test_what_makes_no_sense_is_refused_at_registration(
    options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ForgeJobs().task(**options)

    assert caught.value.field == field


@pytest.mark.parametrize(
    "values",
    [
        {"first_s": 0}, {"first_s": 20, "max_s": 10}, {"factor": 0.5}, {"jitter": 1.1},
        {"max_s": MAX_DELAY_S * 2}, {"factor": float("inf")},
    ],
)  # fmt: skip
def test_a_curve_has_bounds(values: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError):
        exponential(**values)


# -- who is told -----------------------------------------------------------------------


def takes_nothing() -> None: ...


def takes_two(first: object, second: object) -> None: ...


def takes_it_by_name(*, ended: object) -> None: ...


@pytest.mark.parametrize("function", [takes_nothing, takes_two, takes_it_by_name])
def test_who_is_told_takes_the_job_that_ended(function: Callable[..., Any]) -> None:
    forge = ForgeJobs()
    task = forge.task(kind="told")(function)

    with pytest.raises(
        InvalidInputError, match="must take the job or batch that ended"
    ) as got:
        forge.task(on_cancelled=task)

    assert got.value.field == "on_cancelled"


@pytest.mark.parametrize("function", [print, Task])
def test_an_ending_takes_a_task_alone(function: Any) -> None:
    with pytest.raises(InvalidInputError, match="is not a task") as caught:
        ForgeJobs().task(on_dead=function)

    assert caught.value.field == "on_dead"


def test_who_is_told_waits_in_its_own_queue() -> None:
    forge = ForgeJobs()

    @forge.task(queue="mail", priority=-1, max_attempts=2)
    def told(context: TaskContext, job: EndedJob, *, loud: bool = False) -> None: ...

    @forge.task(on_dead=told)
    def export() -> None: ...

    assert export.follow_ups == {Ending.DEAD: FollowUp("told", "job", "mail", -1, 2)}
    assert told.follow_ups == {}


# -- in a task -------------------------------------------------------------------------


def fail(error: BaseException, context: TaskContext, **options: Any) -> Outcome:
    """Run a task once that raises an exception."""

    def send() -> None:
        raise error

    task: Task[..., Any] = ForgeJobs().task(**options)(send)
    return task.run(context, "{}")


@pytest.mark.parametrize(
    ("options", "error", "outcome"),
    [
        ({}, KeyError("id"), Failed),
        ({"dead_on": LookupError}, KeyError("id"), Dead),
        ({"dead_on": [OSError, ValueError]}, KeyError("id"), Failed),
        ({"retry_on": OSError}, ConnectionResetError("gone"), Failed),
        ({"retry_on": OSError}, KeyError("id"), Dead),
        ({"retry_on": OSError, "dead_on": TimeoutError}, TimeoutError("late"), Dead),
        ({"retry_on": ()}, KeyError("id"), Dead),
        ({"dead_on": Exception}, KeyError("id"), Dead),
        ({"dead_on": ()}, KeyError("id"), Failed),
    ],
)
def test_the_type_of_the_exception_decides(
    options: dict[str, Any],
    error: Exception,
    outcome: type[Outcome],
    context: TaskContext,
) -> None:
    assert type(fail(error, context, **options)) is outcome


def test_a_task_that_stops_when_asked_is_not_judged_by_its_exception(
    context: TaskContext,
) -> None:
    """What becomes of it is for whoever asked it to stop."""
    context.cancel.cancel(CancelReason.SHUTDOWN)

    assert type(fail(KeyError("id"), context, dead_on=Exception)) is Failed


def test_a_function_is_asked_with_attempt_and_exception(context: TaskContext) -> None:
    asked: list[tuple[int, BaseException]] = []
    error = KeyError("id")

    def choose(attempt: int, error: BaseException) -> timedelta:
        asked.append((attempt, error))
        return timedelta(seconds=7 * attempt)

    outcome = fail(error, context, retry=choose)

    assert asked == [(1, error)]
    assert isinstance(outcome, Failed)
    assert outcome.retry_after_s == 7


@pytest.mark.parametrize("answer", [None, -1, "soon", float("nan"), ZeroDivisionError])
def test_a_function_that_fails_costs_the_job_nothing(
    answer: Any, context: TaskContext, caplog: pytest.LogCaptureFixture
) -> None:
    def choose(_attempt: int, _error: BaseException) -> Any:
        if answer is ZeroDivisionError:
            raise ZeroDivisionError("a bug")
        return answer

    outcome = fail(KeyError("id"), context, retry=choose)

    assert isinstance(outcome, Failed)
    assert outcome.retry_after_s is None
    assert "the retry function of send failed" in caplog.text
