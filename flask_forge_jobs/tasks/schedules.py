"""What ``@forge.cron(...)`` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar, cast, overload

from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.registry import TaskRegistry

P = ParamSpec("P")
R = TypeVar("R")


class CronDecorator:
    """Registers a schedule of the decorated task."""

    def __init__(
        self,
        registry: TaskRegistry,
        definition: ScheduleDefinition,
        *,
        has_name: bool,
        arguments: Mapping[str, object],
        dedupe: bool,
        make_task: Callable[[Callable[..., Any]], Task[..., Any]],
    ) -> None:
        self._registry = registry
        self._definition = definition
        self._has_name = has_name
        self._arguments = dict(arguments)
        self._dedupe = dedupe
        self._make_task = make_task

    @overload
    def __call__(self, function: Task[P, R]) -> Task[P, R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], R]
    ) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R]: ...

    def __call__(self, function: Any) -> Any:
        """Register the schedule; a plain function becomes a task first."""
        task = function if isinstance(function, Task) else self._make_task(function)
        job = task.job(**self._arguments)
        chosen = replace(
            self._definition,
            name=self._definition.name if self._has_name else task.kind,
            kind=task.kind,
            payload=job.payload,
            queue_name=task.defaults.queue,
            max_attempts=task.defaults.max_attempts,
        ).deduped(self._dedupe)
        chosen.check()
        self._registry.add_schedule(chosen)
        return cast("Task[..., Any]", task)
