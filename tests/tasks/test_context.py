from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.tasks.cancellation import CancelledError
from flask_forge_jobs.tasks.context import (
    TaskContext,
    current_job,
    enter,
    running_context,
)
from tests.support.clocks import MovingClock
from tests.tasks.conftest import Outbox

MakeContext = Callable[..., TaskContext]


def test_seconds_left_counts_down_and_stops_at_zero(
    make_context: MakeContext, clock: MovingClock
) -> None:
    context = make_context(deadline=clock.monotonic() + 10)

    assert context.seconds_left() == 10
    clock.move(4)
    assert context.seconds_left() == 6
    clock.move(60)
    assert context.seconds_left() == 0


def test_seconds_left_is_none_without_a_limit(context: TaskContext) -> None:
    assert context.seconds_left() is None


def test_it_is_shown_in_a_line(make_context: MakeContext) -> None:
    shown = repr(make_context(attempt=2))

    assert shown.startswith("<TaskContext ")
    assert shown.endswith(", attempt 2 of 5>")
    assert len(shown) < 100


def test_last_attempt_is_known(make_context: MakeContext) -> None:
    assert not make_context(attempt=4).is_last_attempt
    assert make_context(attempt=5).is_last_attempt


def test_progress_is_reported_as_canonical_json(
    context: TaskContext, reports: list[str]
) -> None:
    context.set_progress({"done": 3, "of": 10})
    context.set_progress("x" * 1022)

    assert reports == ['{"done":3,"of":10}', f'"{"x" * 1022}"']


@pytest.mark.parametrize("value", ["x" * 1023, {1}, float("nan")])
def test_progress_that_cannot_be_stored_is_refused(
    context: TaskContext, reports: list[str], value: object
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        context.set_progress(value)

    assert caught.value.field == "progress"
    assert reports == []


def test_enqueue_stores_a_follow_up_job(context: TaskContext, outbox: Outbox) -> None:
    result = context.enqueue(NewJob("next"))

    assert result.id == "job-1"
    assert outbox.jobs == [NewJob("next")]


def test_current_job_stands_for_the_context_that_was_entered(
    context: TaskContext,
) -> None:
    leave = enter(context)
    seen = (current_job.job_id, bool(current_job), repr(current_job))
    entered = running_context()
    leave()

    assert seen == ("01JOB", True, "<current_job 01JOB>")
    assert entered is context


def test_contexts_nest(make_context: MakeContext) -> None:
    """A task may call another one inline."""
    outer, inner = make_context(attempt=1), make_context(attempt=2)

    leave_outer = enter(outer)
    leave_inner = enter(inner)
    assert current_job.attempt == 2
    leave_inner()
    assert current_job.attempt == 1
    leave_outer()


def test_current_job_outside_a_task_says_so() -> None:
    assert bool(current_job) is False
    assert repr(current_job) == "<current_job none>"
    with pytest.raises(RuntimeError, match="no task is running here"):
        _ = current_job.job_id
    with pytest.raises(RuntimeError, match="no task is running here"):
        running_context()


def test_each_thread_has_its_own_current_job(context: TaskContext) -> None:
    seen: list[bool] = []
    leave = enter(context)

    thread = threading.Thread(target=lambda: seen.append(bool(current_job)))
    thread.start()
    thread.join()
    leave()

    assert seen == [False]


def test_a_report_of_numbers_leaves_out_what_is_not_known(
    context: TaskContext, reports: list[str]
) -> None:
    context.progress(1)
    context.progress(1.5, 3, "half")

    assert reports == ['{"done":1}', '{"done":1.5,"total":3,"message":"half"}']


def test_a_task_that_was_cancelled_stops_where_it_looks(
    context: TaskContext, reports: list[str]
) -> None:
    context.check()
    context.sleep(0)
    context.cancel.cancel(CancelReason.USER)

    for look in (
        context.check,
        lambda: context.progress(1, 2),
        lambda: context.sleep(3600),  # returns at once
    ):
        with pytest.raises(CancelledError) as caught:
            look()
        assert caught.value.reason is CancelReason.USER
    assert reports == []


def test_sleep_is_woken_by_a_cancel(context: TaskContext) -> None:
    threading.Timer(0.01, context.cancel.cancel, [CancelReason.SHUTDOWN]).start()

    with pytest.raises(CancelledError, match="shutdown"):
        context.sleep(3600)
