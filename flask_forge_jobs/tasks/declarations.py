"""Declarations: what an application says of its tasks, schedules and rate limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from flask_forge_jobs.model.catch_up import DEFAULT_CATCH_UP_LIMIT, CatchUp
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.rate_limits import RateLimitDefinition
from flask_forge_jobs.model.time_zones import DEFAULT_TIME_ZONE
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import MakeContext, StoreJob, Task
from flask_forge_jobs.tasks.options import TaskOptions
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.schedules import CronDecorator
from flask_forge_jobs.tasks.task_decorator import TaskDecorator, TaskRouter

P = ParamSpec("P")
R = TypeVar("R")


class Declarations:
    """The part of :class:`.ForgeJobs` that the code of an application declares with.

    Args:
        registry: Keeps what is declared.
        router: Names the queue of a kind that is enqueued without one.
        store: Stores one job.
        call_context: Makes the context for calls where no task runs.
    """

    def __init__(
        self,
        registry: TaskRegistry,
        *,
        router: TaskRouter,
        store: StoreJob,
        call_context: MakeContext,
    ) -> None:
        self.registry = registry
        self._router = router
        self._store = store
        self._call_context = call_context

    @overload
    def task(
        self, function: Callable[Concatenate[TaskContext, P], R]
    ) -> Task[P, R]: ...

    @overload
    def task(self, function: Callable[P, R]) -> Task[P, R]: ...

    @overload
    def task(self, **options: Unpack[TaskOptions]) -> TaskDecorator: ...

    def task(
        self,
        function: Callable[..., Any] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Register a function as a task; use it with or without parentheses.

        The function stays callable and gains ``enqueue`` and ``options``. A first
        parameter annotated :class:`TaskContext` receives the job's context and is not
        part of the payload.

        Raises:
            InvalidInputError: A value is outside its bounds, the key is none of the
                function's parameters, or another function has the kind.
            TypeError: A JSON object cannot carry the function's arguments: it takes
                positional-only or ``*args`` parameters, or is a generator; or it has no
                name and no ``kind`` is given; or there is no such option.
        """
        decorator = TaskDecorator(
            self.registry,
            router=self._router.others,
            store=self._store,
            call_context=self._call_context,
            options=options,
        )
        return decorator if function is None else decorator(function)

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
        """Run a task on a schedule; use it above ``@forge.task``, or on a function.

        The schedule is brought into the table when a worker starts. What an operator
        changed or disabled there stays so until the code says something else about the
        same value. A schedule that is no longer in the code is deleted.

        The jobs have the task's queue and number of attempts, and priority 0.

        Args:
            cron_expr: Five, six or seven fields, or a shorthand such as ``@daily``.
            name: Identity of the schedule; the task's kind by default. A task with
                several schedules needs a name for each.
            timezone: IANA zone whose clock the expression is read by.
            arguments: What the task is called with, by parameter.
            dedupe: Skip a firing while a job of an earlier one is unfinished.
            catch_up: What becomes of firings that nobody made for a minute: ``skip``,
                ``once`` or ``all``.
            catch_up_limit: How many of them ``all`` makes up, the latest; 1 to 1000.

        Raises:
            InvalidInputError: A value is outside its bounds, the arguments do not fit
                the function, or another schedule has the name.
        """
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
            self.registry,
            definition,
            has_name=name is not None,
            arguments={} if arguments is None else dict(arguments),
            dedupe=dedupe,
            make_task=self.task,
        )

    def rate_limit(self, scope: str, *, capacity: int, refill_per_sec: float) -> None:
        """Declare a token bucket that all processes share.

        It is made when a worker starts. What an operator changes there stays until the
        code says something else. A task takes from it with
        :meth:`TaskContext.rate_limit`.

        Args:
            scope: 1 to 128 characters, none of ``, / ? # %`` or a control character.
            capacity: Most tokens it holds, 1 to 1,000,000,000; as many may be taken at
                once.
            refill_per_sec: Tokens it gains each second, more than 0.

        Raises:
            InvalidInputError: A value is outside its bounds.
        """
        definition = RateLimitDefinition(scope, capacity, refill_per_sec)
        definition.check()
        self.registry.add_rate_limit(definition)
