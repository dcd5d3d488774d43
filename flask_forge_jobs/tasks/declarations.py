"""Declarations: ``@forge.task``, ``@forge.cron`` and ``forge.rate_limit``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.catch_up import (
    DEFAULT_CATCH_UP_LIMIT,
    DEFAULT_TIME_ZONE,
    CatchUp,
)
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.limits import ConcurrencyLimit, RateLimitDefinition
from flask_forge_jobs.tasks.decorator import Isolation, Task, TaskHome
from flask_forge_jobs.tasks.misfits import task_options_error
from flask_forge_jobs.tasks.options import JobOptions, TaskOptions, follow_up_of
from flask_forge_jobs.tasks.other_words import OPTIONS_OF_CRON, names_its_options
from flask_forge_jobs.tasks.retries import RetryPolicy

if TYPE_CHECKING:
    from flask_forge_jobs.model.cron import ScheduleDefinition
    from flask_forge_jobs.tasks.context import TaskContext
    from flask_forge_jobs.tasks.registry import TaskRegistry

P = ParamSpec("P")
R = TypeVar("R")


def _follow_up_tasks(
    on_dead: object, on_cancelled: object
) -> dict[Ending, Task[..., Any]]:
    given = {Ending.DEAD: on_dead, Ending.CANCELLED: on_cancelled}
    tasks = {ending: task for ending, task in given.items() if task is not None}
    for ending, task in tasks.items():
        follow_up_of(f"on_{ending}", task)
    return cast("dict[Ending, Task[..., Any]]", tasks)


class TaskDecorator:
    """Turns the decorated function into a task and registers it."""

    def __init__(
        self, registry: TaskRegistry, home: TaskHome, options: TaskOptions
    ) -> None:
        self._registry = registry
        for name in options.keys() - TaskOptions.__annotations__.keys():
            raise task_options_error(name)
        key = options.pop("key", None)
        limit = options.pop("max_concurrent", None)
        if key is not None and limit is None:
            raise InvalidInputError("key", "needs max_concurrent")
        self._make_task = functools.partial(
            Task[..., Any],
            home=home,
            concurrency=None if limit is None else ConcurrencyLimit(limit, key),
            kind=options.pop("kind", None),
            aliases=options.pop("aliases", None) or (),
            isolation=options.pop("isolation", Isolation.THREAD),
            follow_up_tasks=_follow_up_tasks(
                options.pop("on_dead", None), options.pop("on_cancelled", None)
            ),
            retry=RetryPolicy.of(
                options.pop("retry", None),
                options.pop("retry_on", None),
                options.pop("dead_on", None),
            ),
            options=JobOptions().as_called(**options),
        )

    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], R]
    ) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Any:
        """Register the function; errors as for :meth:`Declarations.task`."""
        given: object = function
        if not (callable(given) or isinstance(given, classmethod)):
            raise InvalidInputError("function", f"{shown(given)} is not a function")
        task = self._make_task(function)
        self._registry.add(task)
        return task


@dataclass(frozen=True, slots=True, kw_only=True)
class CronDecorator:
    """Registers a schedule of the decorated task."""

    registry: TaskRegistry
    definition: ScheduleDefinition
    has_name: bool
    arguments: Mapping[str, object]
    dedupe: bool
    make_task: Callable[[Callable[..., Any]], Task[..., Any]]

    def __post_init__(self) -> None:
        arguments: object = self.arguments
        if not isinstance(arguments, Mapping):
            raise InvalidInputError(
                "arguments", f"{shown(arguments)} is not a dict of arguments by name"
            )
        if type(self.dedupe) is not bool:
            raise InvalidInputError("dedupe", "must be True or False")

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
        try:
            job = task.new_job(task.defaults, (), dict(self.arguments))
        except InvalidInputError as error:
            raise InvalidInputError(
                error.field,
                f"{error.message}; @forge.cron passes what its arguments= holds, such "
                f"as arguments={{{task.parameters.first or 'name'!r}: ...}}",
            ).in_task(task.kind) from None
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


class Declarations:
    """The part of :class:`.ForgeJobs` that declares tasks, schedules and limits."""

    def __init__(self, registry: TaskRegistry, home: TaskHome) -> None:
        self.registry = registry
        self._home = home

    @overload
    def task(
        self, function: Callable[Concatenate[TaskContext, P], R]
    ) -> Task[P, R]: ...

    @overload
    def task(self, function: Callable[P, R]) -> Task[P, R]: ...

    @overload
    def task(self, **options: Unpack[TaskOptions]) -> TaskDecorator: ...

    def task(
        self, function: Callable[..., Any] | None = None, **options: Unpack[TaskOptions]
    ) -> Any:
        """Register a function as a task.

        Use it with or without parentheses::

            @forge.task(queue="mail", max_attempts=3)
            def send_welcome(user_id: int) -> None: ...

            send_welcome.enqueue(user_id=7)  # a worker runs it
            send_welcome(user_id=7)  # runs here and now

        A first parameter annotated with :class:`TaskContext` receives the job's context
        and is not part of the payload. See :class:`TaskOptions` for the options.

        Raises:
            InvalidInputError: A value is out of bounds, ``key`` is not a parameter of
                the function, or another function has the kind.
            TypeError: The function cannot be called with a JSON object of names: it has
                positional-only or ``*args`` parameters or is a generator. Or it has no
                name and no ``kind``, or there is no such option.
        """
        name: object = function
        if isinstance(name, str):
            raise TypeError(f"a queue is an option; write @forge.task(queue={name!r})")
        decorator = TaskDecorator(self.registry, self._home, options)
        return decorator if function is None else decorator(function)

    @names_its_options(OPTIONS_OF_CRON)
    def cron(
        self,
        cron_expr: str,
        *,
        name: str | None = None,
        timezone: str = DEFAULT_TIME_ZONE,
        arguments: Mapping[str, object] | None = None,
        dedupe: bool = False,
        catch_up: str = CatchUp.ONCE,
        catch_up_limit: int = DEFAULT_CATCH_UP_LIMIT,
    ) -> CronDecorator:
        """Run a task on a schedule.

        Use it on a function, or above ``@forge.task``::

            @forge.cron("0 6 * * 1-5", timezone="Europe/Berlin")
            def send_report() -> None: ...

        A worker writes the schedule to the database when it starts, and deletes one
        that is no longer in the code. An operator's changes stay until the code
        changes the same value. The jobs have the task's queue and attempts, and
        priority 0.

        Args:
            cron_expr: Five, six or seven fields, or a shorthand such as ``@daily``.
            name: Name of the schedule; the task's kind by default. Give a name to each
                schedule of a task that has several.
            timezone: IANA time zone of the expression; UTC by default.
            arguments: The arguments of the task, by name.
            dedupe: Skip a firing while the job of an earlier one is unfinished.
            catch_up: The rule for firings that were missed by more than a minute:
                ``skip``, ``once`` (default) or ``all``.
            catch_up_limit: How many of the latest firings ``all`` makes up, 1 to 1000.

        Raises:
            InvalidInputError: A value is out of bounds, the arguments do not fit the
                function, or another schedule has the name.
        """
        expression: object = cron_expr
        if not isinstance(expression, str):
            advice = OPTIONS_OF_CRON["minute"]
            raise InvalidInputError(
                "cron_expr", f"{shown(expression)} is not text; {advice}"
            )
        # Imported with the first schedule: many programs have none.
        from flask_forge_jobs.model.cron import ScheduleDefinition

        definition = ScheduleDefinition(
            name="any" if name is None else name,
            kind="any",
            cron_expr=cron_expr,
            timezone=timezone,
            catch_up=catch_up,
            catch_up_limit=catch_up_limit,
        )
        definition.check()
        return CronDecorator(
            registry=self.registry,
            definition=definition,
            has_name=name is not None,
            arguments={} if arguments is None else arguments,
            dedupe=dedupe,
            make_task=self.task,
        )

    @names_its_options()
    def rate_limit(self, scope: str, *, capacity: int, refill_per_sec: float) -> None:
        """Declare a token bucket that all processes share.

        A task takes tokens with :meth:`TaskContext.rate_limit`. A worker creates the
        bucket when it starts. An operator's changes stay until the code changes.

        Args:
            scope: 1 to 128 characters, without ``, / ? # %`` and control characters.
            capacity: Most tokens, 1 to 1,000,000,000; the largest burst.
            refill_per_sec: New tokens per second, more than 0.

        Raises:
            InvalidInputError: A value is out of bounds.
        """
        definition = RateLimitDefinition(scope, capacity, refill_per_sec)
        definition.check()
        self.registry.add_rate_limit(definition)
