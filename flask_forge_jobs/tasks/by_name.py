"""Jobs of a kind that is given by its name, whoever names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.options import JobOptions
from flask_forge_jobs.tasks.registry import TaskRegistry


def job_of_kind(
    registry: TaskRegistry,
    router: Callable[[str], str],
    kind: str,
    payload: object,
    **given: Any,
) -> NewJob:
    """Return a job of a kind, with the options of its task if it has one here.

    Args:
        registry: The tasks of this application.
        router: Names the queue of a kind where nothing else does.
        kind: Selects the task.
        payload: Any JSON value; the arguments by name where the task is a function.
        given: Fields of :class:`JobOptions` that come before the task's; None leaves
            those as they are.

    Raises:
        InvalidInputError: A value is outside its bounds, or the payload does not fit
            the function.
    """
    task = registry.get(kind)
    if isinstance(task, Task):
        return task.job_for(payload, task.defaults.changed(**given))
    return JobOptions().changed(**given).new_job(kind, dump(payload), router)
