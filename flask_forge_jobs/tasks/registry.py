"""TaskRegistry: the tasks, schedules and limits of an application; its jobs by kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any, Protocol

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import (
    DEFAULT_MAX_ATTEMPTS,
    check_payload_size,
    shown,
)
from flask_forge_jobs.model.jobs import EMPTY_PAYLOAD
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.options import JobOptions

if TYPE_CHECKING:
    from flask_forge_jobs.model.cron import ScheduleDefinition
    from flask_forge_jobs.model.jobs import NewJob
    from flask_forge_jobs.model.limits import ConcurrencyLimit, RateLimitDefinition
    from flask_forge_jobs.model.outcomes import Outcome
    from flask_forge_jobs.tasks.context import TaskContext
    from flask_forge_jobs.tasks.routing import Router

# A decorator without functools.wraps hides the function in a closure.
_DEEPEST = 4
# Options that many jobs of a kind share.
_SHARED = frozenset({"queue", "priority", "max_attempts"})
_MAX_TEMPLATES = 1024
_PLAIN = JobOptions()


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
        self._templates: dict[tuple[object, ...], tuple[JobOptions, NewJob]] = {}

    def add(self, task: Runnable) -> None:
        """Register a task and its aliases; a task may be registered again.

        Raises:
            InvalidInputError: Another task has one of the kinds.
        """
        # A custom class may have no aliases.
        kinds = (task.kind, *getattr(task, "aliases", ()))
        for kind in kinds:
            other = self._tasks.get(kind)
            if other is not None and not is_same(other, task):
                raise InvalidInputError(
                    "kind",
                    f"two tasks have the kind {shown(kind)}: {place_of(other)} and "
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
        registered = self._schedules.setdefault(definition.name, definition)
        if registered != definition:
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

    def template(
        self, kind: str, options: JobOptions, shared: dict[str, Any], router: Router
    ) -> NewJob:
        """Return a job without a payload, to copy: clients repeat all else."""
        place = (kind, *shared.items())
        known, job = self._templates.get(place, (None, None))
        if known is not options or job is None:
            job = options.changed(**shared).new_job(kind, EMPTY_PAYLOAD, router)
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            self._templates[place] = options, job
        return job


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
    runnable = registry.get(kind)
    task = runnable if isinstance(runnable, Task) else None
    options = _PLAIN if task is None else task.defaults
    chosen = {name: value for name, value in given.items() if value is not None}
    if options.dedupe_by_args or "queue" not in chosen or chosen.keys() - _SHARED:
        options = options.changed(**chosen)
        if task is not None:
            return task.job_for(payload, options)
        return options.new_job(kind, dump(payload), router)
    text = dump(payload) if task is None else task.payload_of(payload)
    check_payload_size(text)
    kind = kind if task is None else task.kind
    template = registry.template(kind, options, chosen, router)
    return template.with_checked(payload=text)


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


def place_of(task: object) -> str:
    """Return module, name, file and line of a task's function, for a message."""
    function = _function_of(task)
    code = _code_of(function)
    where = "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"
    return f"{'.'.join(_names_of(function))}{where}"


def is_same(one: object, other: object) -> bool:
    """Return whether two tasks are of one function, which may be defined repeatedly.

    A reloaded module or a second call of an application factory defines a new function
    at the same place. Functions at different places are different, also if one
    decorator wraps both.
    """
    return _is_same(_function_of(one), _function_of(other), _DEEPEST)


def _is_same(one: object, other: object, depth: int) -> bool:
    if one is other:
        return True
    code, second = _code_of(one), _code_of(other)
    if code is None or second is None:
        return code is second and _names_of(one) == _names_of(other)
    places = [
        (_names_of(function), body.co_filename, body.co_firstlineno)
        for function, body in ((one, code), (other, second))
    ]
    if places[0] != places[1]:
        return False
    hidden = list(zip(_functions_in(one), _functions_in(other), strict=False))
    return depth == 0 or all(_is_same(*pair, depth - 1) for pair in hidden)


def _function_of(task: object) -> object:
    function = getattr(task, "function", task)
    return inspect.unwrap(function) if callable(function) else function


def _names_of(function: object) -> tuple[str, str]:
    named = function if hasattr(function, "__qualname__") else type(function)
    return str(named.__module__), str(getattr(named, "__qualname__", ""))


def _code_of(function: object) -> CodeType | None:
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _functions_in(function: object) -> list[object]:
    functions = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            content = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if _code_of(content) is not None:
            functions.append(inspect.unwrap(content))
    return functions
