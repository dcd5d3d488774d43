"""Makes jobs and schedules for kinds that are given by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask_forge_jobs.model.cron import ScheduleDefinition
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


def schedule_of_kind(
    registry: TaskRegistry | None, definition: ScheduleDefinition
) -> ScheduleDefinition:
    """Return a schedule with its task's queue and attempts where it names none."""
    task = None if registry is None else registry.get(definition.kind)
    if not isinstance(task, Task):
        return definition
    queue_name, attempts = definition.queue_name, definition.max_attempts
    return replace(
        definition,
        queue_name=task.defaults.queue if queue_name is None else queue_name,
        max_attempts=task.defaults.max_attempts if attempts is None else attempts,
    )
