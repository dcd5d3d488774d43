"""TaskRegistry: kind to task."""

from __future__ import annotations

from typing import Protocol

from flask_forge_jobs.model.outcomes import Outcome
from flask_forge_jobs.tasks.context import TaskContext


class Runnable(Protocol):
    """What the runtime needs of a task."""

    @property
    def kind(self) -> str:
        """The kind of its jobs."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds one attempt may take; None means no limit."""

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run once with a stored payload; never raises."""


class TaskRegistry:
    """The tasks of one application."""

    def __init__(self) -> None:
        self._tasks: dict[str, Runnable] = {}

    def add(self, task: Runnable) -> None:
        """Register a task; a later one of the same kind takes its place."""
        self._tasks[task.kind] = task

    def get(self, kind: str) -> Runnable | None:
        """Return the task of a kind, or None."""
        return self._tasks.get(kind)

    def kinds(self) -> list[str]:
        """Return the registered kinds, sorted."""
        return sorted(self._tasks)
