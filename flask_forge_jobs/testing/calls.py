"""The arguments of the kit's methods: tasks, kinds, arguments and queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.tasks.decorator import Task


def check_task(task: object) -> None:
    """Raise TypeError for anything but a task."""
    if not isinstance(task, Task):
        raise TypeError(f"{shown(task)} is not a task; pass what @forge.task returns")


def check_queues(queues: Iterable[object]) -> None:
    """Raise TypeError for anything but names of queues."""
    for name in queues:
        if not isinstance(name, str):
            raise TypeError(f"{shown(name)} is not the name of a queue")


def kind_of(task: Task[..., Any] | str) -> str:
    """Return the kind of a task, or a kind."""
    if isinstance(task, str):
        return task
    check_task(task)
    return task.kind


def named_of(
    task: Task[..., Any] | str, args: Mapping[str, object] | tuple[object, ...] | None
) -> Mapping[str, object] | None:
    """Return arguments of a task by name, as they are stored."""
    if args is None:
        return None
    given: object = args
    if not isinstance(given, Mapping | tuple):
        raise TypeError(f"args= takes a dict by name or a tuple, not {shown(given)}")
    if isinstance(task, str):
        if isinstance(args, tuple):
            raise TypeError("a kind has no parameters; give args as a dict")
        return args
    named = task.parameters.named(args) if isinstance(args, tuple) else args
    return {name: _as_stored(task, name, value) for name, value in named.items()}


def _as_stored(task: Task[..., Any], name: str, value: object) -> object:
    try:
        return task.parameters.encoded({name: value})[name]
    except InvalidInputError:
        return value  # the test has written the stored form
