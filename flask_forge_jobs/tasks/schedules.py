"""What ``@forge.cron(...)`` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, TypeVar, cast, overload

from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.registry import TaskRegistry

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class CronDecorator:
    """Registers a schedule of the decorated task."""

    registry: TaskRegistry
    definition: ScheduleDefinition
    has_name: bool
    arguments: Mapping[str, object]
    dedupe: bool
    make_task: Callable[[Callable[..., Any]], Task[..., Any]]

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
        task = function if isinstance(function, Task) else self.make_task(function)
        job = task.job(**self.arguments)
        chosen = replace(
            self.definition,
            name=self.definition.name if self.has_name else task.kind,
            kind=task.kind,
            payload=job.payload,
            queue_name=task.defaults.queue,
            max_attempts=task.defaults.max_attempts,
        ).deduped(self.dedupe)
        chosen.check()
        self.registry.add_schedule(chosen)
        return cast("Task[..., Any]", task)
