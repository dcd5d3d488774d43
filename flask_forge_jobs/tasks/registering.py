"""What ``@forge.task(...)`` returns, and what its tasks say about their queues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from flask_forge_jobs.model.seats import SeatPlan
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import MakeContext, StoreJob, Task
from flask_forge_jobs.tasks.options import JobOptions
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import Router

P = ParamSpec("P")
R = TypeVar("R")


class TaskRouter:
    """Sends a kind to the queue of its task, and what has none to the router's.

    Args:
        registry: Kind to task.
        router: Names the queue of every other kind.
    """

    def __init__(self, registry: TaskRegistry, router: Router) -> None:
        self._registry = registry
        self._router = router

    def __call__(self, kind: str) -> str:
        """Return the queue's name."""
        task = self._registry.get(kind)
        chosen = task.defaults.queue if isinstance(task, Task) else None
        return self._router(kind) if chosen is None else chosen


class TaskDecorator:
    """Makes a task of the function that it stands on, and registers it.

    Args:
        registry: Keeps the task.
        router: Names the queue of jobs whose task names none.
        store: Stores one job.
        kind: Kind of its jobs; the function's name when None.
        options: What its jobs are stored with.
        seats: How many of them may run at once; None means any number.
        isolation: ``thread`` or ``process``.
        outside: Makes the context for calls where no task runs.
    """

    def __init__(
        self,
        registry: TaskRegistry,
        *,
        router: Router,
        store: StoreJob,
        kind: str | None,
        options: JobOptions,
        seats: SeatPlan | None,
        isolation: str,
        outside: MakeContext,
    ) -> None:
        self._registry = registry
        self._router = router
        self._store = store
        self._kind = kind
        self._options = options
        self._seats = seats
        self._isolation = isolation
        self._outside = outside

    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], R]
    ) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Any:
        """Register the function.

        Raises:
            InvalidInputError: The kind is taken or not allowed, or the key of its seats
                is none of the function's parameters.
            TypeError: A JSON object cannot carry the function's arguments.
        """
        task: Task[..., Any] = Task(
            function,
            kind=self._kind,
            options=self._options,
            isolation=self._isolation,
            router=self._router,
            store=self._store,
            seats=self._seats,
            outside=self._outside,
        )
        self._registry.add(task)
        return task
