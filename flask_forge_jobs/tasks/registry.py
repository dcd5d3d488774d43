"""TaskRegistry: the tasks, schedules and rate limits of an application."""

from __future__ import annotations

from typing import Protocol

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.concurrency import ConcurrencyLimit
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.outcomes import Outcome
from flask_forge_jobs.model.rate_limits import RateLimitDefinition
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.places import is_same, place_of


class Runnable(Protocol):
    """A task, as a worker sees it."""

    @property
    def kind(self) -> str:
        """The kind of its jobs."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds one attempt may take; None means no limit."""

    @property
    def concurrency(self) -> ConcurrencyLimit | None:
        """How many of its jobs may run at once in the cluster; None means no limit."""

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run once with a stored payload; never raises."""


class TaskRegistry:
    """The tasks, schedules and rate limits of one application."""

    def __init__(self) -> None:
        self._tasks: dict[str, Runnable] = {}
        self._schedules: dict[str, ScheduleDefinition] = {}
        self._rate_limits: dict[str, RateLimitDefinition] = {}

    def add(self, task: Runnable) -> None:
        """Register a task and its aliases; a task may be registered again.

        Raises:
            InvalidInputError: Another task has one of the kinds.
        """
        # A custom class may have no aliases.
        kinds = (task.kind, *getattr(task, "aliases", ()))
        for kind in kinds:
            found = self._tasks.get(kind)
            if found is not None and not is_same(found, task):
                raise InvalidInputError(
                    "kind",
                    f"two tasks have the kind {shown(kind)}: {place_of(found)} and "
                    f"{place_of(task)}; pass kind= to one of them",
                )
        self._tasks.update(dict.fromkeys(kinds, task))

    def get(self, kind: str) -> Runnable | None:
        """Return the task of a kind or alias, or None."""
        return self._tasks.get(kind)

    def add_schedule(self, definition: ScheduleDefinition) -> None:
        """Register a schedule of a task.

        Raises:
            InvalidInputError: Another schedule has the name.
        """
        found = self._schedules.setdefault(definition.name, definition)
        if found != definition:
            raise InvalidInputError(
                "name",
                f"two schedules are named {shown(definition.name)}; pass name= to one",
            )

    def schedules(self) -> list[ScheduleDefinition]:
        """Return the registered schedules, by name."""
        return [self._schedules[name] for name in sorted(self._schedules)]

    def add_rate_limit(self, definition: RateLimitDefinition) -> None:
        """Register a token bucket, in place of an earlier one of the same scope."""
        self._rate_limits[definition.scope] = definition

    def rate_limits(self) -> list[RateLimitDefinition]:
        """Return the registered token buckets, by scope."""
        return [self._rate_limits[scope] for scope in sorted(self._rate_limits)]

    def kinds(self) -> list[str]:
        """Return the registered kinds and aliases, sorted."""
        return sorted(self._tasks)
