"""Makes jobs for kinds that are given by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask_forge_jobs.model.bounds import DEFAULT_MAX_ATTEMPTS
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
    """Return a job of a kind; a task that is known here adds its options and checks.

    ``given`` are fields of :class:`JobOptions` that override the task's; None does not.
    """
    task = registry.get(kind)
    if isinstance(task, Task):
        return task.job_for(payload, task.defaults.changed(**given))
    return JobOptions().changed(**given).new_job(kind, dump(payload), router)


def check_payload_of_kind(
    registry: TaskRegistry | None, kind: str, payload: object
) -> None:
    """Raise InvalidInputError if a known kind's function does not take a payload."""
    task = None if registry is None else registry.get(kind)
    if isinstance(task, Task):
        task.job_for(payload, task.defaults)


def attempts_of_kind(registry: TaskRegistry, kind: str) -> int:
    """Return how often a job that does not say may run: as its task says, else 5."""
    task = registry.get(kind)
    return (
        task.defaults.max_attempts if isinstance(task, Task) else DEFAULT_MAX_ATTEMPTS
    )
