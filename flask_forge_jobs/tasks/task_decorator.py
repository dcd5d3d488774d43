"""What ``@forge.task(...)`` returns, and the router that knows its tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.concurrency import ConcurrencyLimit
from flask_forge_jobs.model.outcomes import Ending
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import Isolation, MakeContext, StoreJob, Task
from flask_forge_jobs.tasks.options import JobOptions, TaskOptions
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.retries import RetryPolicy
from flask_forge_jobs.tasks.routing import Router

P = ParamSpec("P")
R = TypeVar("R")


class TaskRouter:
    """Names the queue of a kind's task, else that of another router."""

    def __init__(self, registry: TaskRegistry, router: Router) -> None:
        self._registry = registry
        self.others = router

    def __call__(self, kind: str) -> str:
        """Return the queue's name."""
        task = self._registry.get(kind)
        chosen = task.defaults.queue if isinstance(task, Task) else None
        return self.others(kind) if chosen is None else chosen


def _told(on_dead: object, on_cancelled: object) -> dict[Ending, Task[..., Any]]:
    given = {Ending.DEAD: on_dead, Ending.CANCELLED: on_cancelled}
    told = {}
    for ending, task in given.items():
        if task is None:
            continue
        if not isinstance(task, Task):
            raise InvalidInputError(f"on_{ending}", f"{shown(task)} is not a task")
        try:
            task.as_follow_up()
        except InvalidInputError as error:
            raise InvalidInputError(f"on_{ending}", error.message) from None
        told[ending] = task
    return told


class TaskDecorator:
    """Turns the decorated function into a task and registers it."""

    def __init__(
        self,
        registry: TaskRegistry,
        *,
        router: Router,
        store: StoreJob,
        call_context: MakeContext,
        options: TaskOptions,
    ) -> None:
        self._registry = registry
        most, key = options.pop("max_concurrent", None), options.pop("key", None)
        if key is not None and most is None:
            raise InvalidInputError("key", "needs max_concurrent")
        self._make_task = functools.partial(
            Task[..., Any],
            router=router,
            store=store,
            call_context=call_context,
            concurrency=None if most is None else ConcurrencyLimit(most, key),
            kind=options.pop("kind", None),
            aliases=options.pop("aliases", None) or (),
            isolation=options.pop("isolation", Isolation.THREAD),
            told=_told(options.pop("on_dead", None), options.pop("on_cancelled", None)),
            retry=RetryPolicy.of(
                options.pop("retry", None),
                options.pop("retry_on", None),
                options.pop("dead_on", None),
            ),
            options=JobOptions().changed(**options),
        )

    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], R]
    ) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Any:
        """Register the function; errors as for :meth:`Declarations.task`."""
        task = self._make_task(function)
        self._registry.add(task)
        return task
