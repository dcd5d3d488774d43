"""What a task sees of its steps; what is stored of them in contract/jobs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError, StorageOutcomeUnknownError
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.model.steps import (
    MAX_STEP_BYTES,
    MAX_STEP_NAME_LENGTH,
    MAX_STEPS,
    KeptSteps,
)
from flask_forge_jobs.tasks.cancellation import CancelledError
from flask_forge_jobs.tasks.context import TaskContext, current_job, enter


@dataclass
class Keeper:
    """Keeps steps in memory, and counts how often they are read."""

    before: KeptSteps = field(default_factory=KeptSteps)
    results: dict[str, str] = field(default_factory=dict)
    saved: list[str] = field(default_factory=list)
    reads: int = 0
    is_lost: bool = False
    fails: int = 0

    def kept(self, run: Any) -> KeptSteps:
        assert run == "the run"
        self.reads += 1
        return self.before

    def keep(self, run: Any, name: str, result: str) -> bool:
        assert run == "the run"
        if not self.is_lost:
            self.results[name] = result
        if self.fails:
            self.fails -= 1
            raise StorageOutcomeUnknownError
        return not self.is_lost

    def save(self, run: Any, text: str) -> None:
        assert run == "the run"
        self.saved.append(text)


@pytest.fixture
def keeper(context: TaskContext) -> Keeper:
    context.keeper, context.run = Keeper(), "the run"
    return context.keeper


def never(*_: object) -> object:
    raise AssertionError("this step is kept")


def test_a_step_calls_its_function_and_keeps_the_result(
    context: TaskContext, keeper: Keeper
) -> None:
    def add(a: int, *, b: int) -> int:
        return a + b

    assert context.step("add", add, 1, b=2) == 3
    assert keeper.results == {"add": "3"}


def test_a_kept_step_is_not_called_again(context: TaskContext, keeper: Keeper) -> None:
    keeper.before = KeptSteps({"fetch": '{"n":1}', "nothing": "null"})

    assert context.step("fetch", never) == {"n": 1}
    assert context.step("nothing", never) is None
    assert context.step("other", lambda: "new") == "new"

    assert keeper.reads == 1
    assert keeper.results == {"other": '"new"'}


def test_a_result_takes_the_same_trip_in_every_run(
    context: TaskContext, keeper: Keeper
) -> None:
    first = context.step("pair", lambda: (1, {"a": (2,)}))
    keeper.before, context._steps = KeptSteps(keeper.results), None
    again = context.step("pair", never)

    assert first == again == [1, {"a": [2]}]


def test_a_step_that_raises_keeps_nothing_and_may_be_tried_again(
    context: TaskContext, keeper: Keeper
) -> None:
    calls = []

    def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("no")
        return len(calls)

    for _ in range(2):
        with pytest.raises(ConnectionError):
            context.step("fetch", flaky)
    assert keeper.results == {}
    assert context.step("fetch", flaky) == 3


def test_a_step_whose_answer_was_lost_is_not_called_again(
    context: TaskContext, keeper: Keeper
) -> None:
    """Its result may be recorded, and a second one would replace it."""
    numbers = iter((1, 2))
    keeper.fails = 2
    for _ in range(2):
        with pytest.raises(StorageOutcomeUnknownError):
            context.step("draw", next, numbers)

    assert context.step("draw", next, numbers) == 1
    assert keeper.results == {"draw": "1"}


@pytest.mark.parametrize("kept", [{}, {"fetch": "1"}])
def test_a_name_is_used_once_in_a_run(
    context: TaskContext, keeper: Keeper, kept: dict[str, str]
) -> None:
    keeper.before = KeptSteps(kept)
    context.step("fetch", lambda: 1)

    with pytest.raises(InvalidInputError, match="'fetch' is used twice in a run"):
        context.step("fetch", never)


@pytest.mark.parametrize("name", ["", "x" * (MAX_STEP_NAME_LENGTH + 1), "\x00", 7])
def test_a_name_that_cannot_be_stored_is_refused(
    context: TaskContext, keeper: Keeper, name: Any
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        context.step(name, never)

    assert caught.value.field == "step"
    assert keeper.results == {}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("x" * MAX_STEP_BYTES, f"exceed {MAX_STEP_BYTES}"),
        ({1}, "set"),
        (float("nan"), "number"),
    ],
)
def test_a_result_that_cannot_be_kept_is_refused(
    context: TaskContext, keeper: Keeper, value: object, fault: str
) -> None:
    with pytest.raises(InvalidInputError, match=fault) as caught:
        context.step("fetch", lambda: value)

    assert caught.value.field.startswith("result of step 'fetch'")
    assert keeper.results == {}


def test_the_largest_result_is_kept(context: TaskContext, keeper: Keeper) -> None:
    text = "x" * (MAX_STEP_BYTES - 2)

    assert context.step("fetch", lambda: text) == text
    assert len(keeper.results["fetch"]) == MAX_STEP_BYTES


def test_a_job_has_a_bounded_number_of_steps(
    context: TaskContext, keeper: Keeper
) -> None:
    keeper.before = KeptSteps({f"old {n}": "1" for n in range(MAX_STEPS - 1)})

    with pytest.raises(ZeroDivisionError):
        context.step("failed", lambda: 1 // 0)
    context.step("the last", lambda: 1)
    assert context.step("old 0", never) == 1
    with pytest.raises(InvalidInputError, match=f"the {MAX_STEPS} steps of a job"):
        context.step("one more", never)


def test_a_cancelled_job_begins_no_step(context: TaskContext, keeper: Keeper) -> None:
    context.cancel.cancel(CancelReason.USER)

    with pytest.raises(CancelledError):
        context.step("fetch", never)

    assert keeper.reads == 0


def test_a_run_that_has_lost_its_job_stops(
    context: TaskContext, keeper: Keeper
) -> None:
    keeper.is_lost = True

    with pytest.raises(CancelledError, match="lost"):
        context.step("fetch", lambda: 1)

    assert context.cancel.reason is CancelReason.LOST


def test_threads_of_a_run_share_its_steps(context: TaskContext, keeper: Keeper) -> None:
    outcomes: list[object] = []
    everyone = threading.Barrier(4)

    def race() -> None:
        everyone.wait()
        try:
            outcomes.append(context.step("fetch", lambda: 1))
        except InvalidInputError as error:
            outcomes.append(error.field)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(str, outcomes)) == ["1", "step", "step", "step"]
    assert keeper.reads == 1


# -- async -------------------------------------------------------------------------


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_an_async_step_is_awaited(context: TaskContext, keeper: Keeper) -> None:
    keeper.before = KeptSteps({"kept": "5"})

    async def task() -> list[int]:
        both = await asyncio.gather(
            context.step("double", double, 2), context.step("kept", double, 7)
        )
        with pytest.raises(InvalidInputError):
            await context.step("double", double, 2)
        return list(both)

    assert asyncio.run(task()) == [4, 5]
    assert keeper.results == {"double": "4"}


def test_an_async_step_that_raises_may_be_tried_again(
    context: TaskContext, keeper: Keeper
) -> None:
    async def fail() -> int:
        raise ConnectionError("no")

    async def task() -> int:
        with pytest.raises(ConnectionError):
            await context.step("fetch", fail)
        return await context.step("fetch", double, 3)

    assert asyncio.run(task()) == 6
    assert keeper.results == {"fetch": "6"}


def test_an_async_step_whose_answer_was_lost_is_not_called_again(
    context: TaskContext, keeper: Keeper
) -> None:
    keeper.fails = 1

    async def task() -> int:
        with pytest.raises(StorageOutcomeUnknownError):
            await context.step("double", double, 2)
        return await context.step("double", double, 3)

    assert asyncio.run(task()) == 4


# -- checkpoints -------------------------------------------------------------------


def test_a_value_is_saved_and_is_the_checkpoint_from_then_on(
    context: TaskContext, keeper: Keeper
) -> None:
    keeper.before = KeptSteps({}, '{"place":3}')

    assert context.checkpoint == {"place": 3}
    context.save((4, 5))
    assert context.checkpoint == [4, 5]

    assert keeper.saved == ["[4,5]"]
    assert keeper.reads == 1


def test_a_first_run_has_no_checkpoint(context: TaskContext, keeper: Keeper) -> None:
    assert context.checkpoint is None
    assert keeper.saved == []


def test_saving_needs_no_read_and_a_later_read_does_not_undo_it(
    context: TaskContext, keeper: Keeper
) -> None:
    keeper.before = KeptSteps({"fetch": "1"}, "3")

    context.save(4)
    assert keeper.reads == 0
    context.step("fetch", never)

    assert context.checkpoint == 4


@pytest.mark.parametrize("value", ["x" * MAX_STEP_BYTES, {1}])
def test_a_value_that_cannot_be_saved_is_refused(
    context: TaskContext, keeper: Keeper, value: object
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        context.save(value)

    assert caught.value.field.startswith("checkpoint")
    assert keeper.saved == []


def test_a_cancelled_job_saves_and_stops(context: TaskContext, keeper: Keeper) -> None:
    context.cancel.cancel(CancelReason.SHUTDOWN)

    with pytest.raises(CancelledError):
        context.save(4)

    assert keeper.saved == ["4"]


def test_a_call_without_a_job_keeps_nothing(context: TaskContext) -> None:
    leave = enter(context)
    try:
        run: Callable[[], str] = lambda: "ran"  # noqa: E731  # typed, as a task's is
        assert current_job.step("fetch", run) == "ran"
        current_job.save(1)
        assert current_job.checkpoint == 1
    finally:
        leave()
