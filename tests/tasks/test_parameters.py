from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import flask_forge_jobs.tasks.context as context_module
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.context import TaskContext as Ctx
from flask_forge_jobs.tasks.parameters import Parameters

if TYPE_CHECKING:
    from decimal import Decimal


def plain(user_id: int, name: str = "Ann", *, loud: bool = False) -> None: ...


def open_ended(user_id: int, **more: object) -> None: ...


def with_context(context: TaskContext, user_id: int) -> None: ...


def open_ended_with_context(context: TaskContext, **more: object) -> None: ...


def bind(
    function: Callable[..., Any], *args: object, **kwargs: object
) -> dict[str, Any]:
    return Parameters(function).bind(args, kwargs)


# -- binding ---------------------------------------------------------------------------


def test_arguments_are_bound_to_names() -> None:
    assert bind(plain, user_id=7) == {"user_id": 7}
    assert bind(plain, 7) == {"user_id": 7}
    assert bind(plain, 7, "Bob", loud=True) == {
        "user_id": 7,
        "name": "Bob",
        "loud": True,
    }


def test_defaults_are_left_to_the_release_that_runs_the_job() -> None:
    assert "name" not in bind(plain, 7)


def test_extra_names_become_keys_of_their_own() -> None:
    assert bind(open_ended, 7, colour="red", more=1) == {
        "user_id": 7,
        "colour": "red",
        "more": 1,
    }


@pytest.mark.parametrize(
    ("args", "kwargs", "fault"),
    [
        ((), {}, "^`user_id` is missing; it takes `user_id`, `name`"),
        ((), {"user_id": 1, "age": 2}, "^there is no `age`; it takes"),
        ((1, "Ann", True), {}, "^3 by position are more than 2; it takes"),
        ((1,), {"user_id": 1}, "^`user_id` is given twice; it takes"),
    ],
)
def test_what_does_not_bind_is_named(
    args: tuple[object, ...], kwargs: dict[str, object], fault: str
) -> None:
    with pytest.raises(TypeError, match=fault):
        Parameters(plain).bind(args, kwargs)


@pytest.mark.parametrize(
    "arguments", [{"user_id": 1}, {"user_id": 1, "name": "x", "loud": True}]
)
def test_check_accepts_what_binds(arguments: dict[str, object]) -> None:
    Parameters(plain).check(arguments)
    Parameters(with_context).check({"user_id": 1})
    Parameters(open_ended).check({"user_id": 1, "colour": "red"})


@pytest.mark.parametrize("arguments", [{}, {"name": "x"}, {"user_id": 1, "age": 2}])
def test_check_refuses_what_does_not(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Parameters(plain).check(arguments)


# -- the context -----------------------------------------------------------------------


def unannotated(context, user_id):  # type: ignore[no-untyped-def]  # the point
    ...


def positional_only(context: TaskContext, /, user_id: int) -> None: ...


def aliased(context: Ctx, user_id: int) -> None: ...


def through_a_module(context: context_module.TaskContext, user_id: int) -> None: ...


def quoted(context: "TaskContext", user_id: int) -> None: ...  # noqa: UP037  # the point


def beside_an_unknown_name(context: TaskContext, user_id: Decimal) -> None: ...


def for_a_stranger(context: Decimal, user_id: int) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        with_context,
        positional_only,
        aliased,
        through_a_module,
        quoted,
        beside_an_unknown_name,
    ],
)
def test_an_annotated_first_parameter_is_the_context(
    function: Callable[..., Any],
) -> None:
    parameters = Parameters(function)

    assert parameters.takes_context
    assert parameters.bind((7,), {}) == {"user_id": 7}


@pytest.mark.parametrize("function", [plain, unannotated, for_a_stranger, lambda: None])
def test_any_other_first_parameter_is_not(function: Callable[..., Any]) -> None:
    assert not Parameters(function).takes_context


def test_context_of_a_function_without_postponed_annotations() -> None:
    def task(context: Any, user_id: int) -> None: ...

    task.__annotations__["context"] = TaskContext

    assert Parameters(task).takes_context


def test_context_cannot_come_from_a_payload() -> None:
    for arguments in ({"context": 1}, {"context": 1, "colour": "red"}):
        with pytest.raises(TypeError, match="'context' is the task's context"):
            Parameters(open_ended_with_context).bind((), arguments)
        with pytest.raises(TypeError, match="'context' is the task's context"):
            Parameters(open_ended_with_context).check(arguments)


def test_its_name_is_free_when_the_context_is_positional_only() -> None:
    def task(context: TaskContext, /, **more: object) -> None: ...

    assert bind(task, context=1) == {"context": 1}


# -- what cannot be a task -------------------------------------------------------------


def takes_any(*numbers: int) -> None: ...


def takes_positional_only(user_id: int, /) -> None: ...


def takes_context_late(user_id: int, context: TaskContext) -> None: ...


def takes_context_by_name(*, context: TaskContext) -> None: ...


def may_take_context(context: TaskContext | None = None) -> None: ...


def generates() -> Iterator[int]:
    yield 1


async def generates_later() -> AsyncIterator[int]:
    yield 1


class Generates:
    def __call__(self, number: int = 0) -> Iterator[int]:
        yield number


class GeneratesLater:
    async def __call__(self) -> AsyncIterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (takes_any, "'numbers' has no name that a payload could carry"),
        (takes_positional_only, "'user_id' has no name that a payload could carry"),
        (takes_context_late, "context must be the first parameter"),
        (takes_context_by_name, "context must be an ordinary parameter"),
        (may_take_context, "annotate 'context' with TaskContext alone"),
        (generates, "is a generator"),
        (generates_later, "is a generator"),
        (Generates(), "is a generator"),
        (GeneratesLater(), "is a generator"),
        (functools.partial(Generates(), 1), "is a generator"),
        (dict.update, "no name that a payload|has no signature"),
        (type, "has no signature"),
    ],
)
def test_functions_that_a_json_object_cannot_call_are_refused(
    function: Callable[..., Any], fault: str
) -> None:
    with pytest.raises(TypeError, match=fault):
        Parameters(function)


def test_a_default_of_none_may_be_given() -> None:
    def task(user_id: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert bind(task, user_id=None) == {"user_id": None}
    assert Parameters(task).loaded({"user_id": None}) == {"user_id": None}
    with pytest.raises(InvalidInputError, match="'x' is not a whole number or None"):
        bind(task, user_id="x")


def test_partial_functions_and_methods_are_functions_too() -> None:
    class Mailer:
        def send(self, user_id: int) -> None: ...

    assert bind(functools.partial(plain, name="Bob"), 7) == {"user_id": 7}
    assert bind(Mailer().send, 7) == {"user_id": 7}
