"""Task: a function that can be enqueued.

``enqueue`` checks the arguments against the function's signature and stores them by
name, so the order of parameters may change between releases.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import (
    MAX_PAYLOAD_BYTES,
    check_kind,
    check_queue_name,
    shown,
)
from flask_forge_jobs.model.jobs import EMPTY_PAYLOAD, NewJob
from flask_forge_jobs.model.outcomes import Dead, FollowUp, FollowUps, Outcome, clip
from flask_forge_jobs.model.payloads import dump, load_text
from flask_forge_jobs.tasks.context import (
    TaskContext,
    enter,
    entered_context,
    running_context,
)
from flask_forge_jobs.tasks.coroutines import run_coroutine
from flask_forge_jobs.tasks.endings import of_error, of_value
from flask_forge_jobs.tasks.misfits import call_error, jobs_of, payload_error
from flask_forge_jobs.tasks.options import (
    EnqueueOptions,
    FollowUpTask,
    JobOptions,
    several,
)
from flask_forge_jobs.tasks.other_words import OF_TASKS, teach
from flask_forge_jobs.tasks.parameters import Parameters
from flask_forge_jobs.tasks.retries import DEFAULT_RETRY, RetryPolicy
from flask_forge_jobs.tasks.routing import DefaultRouter, Router

if TYPE_CHECKING:
    from flask_forge_jobs.model.endings import Ending
    from flask_forge_jobs.model.limits import ConcurrencyLimit
    from flask_forge_jobs.tasks.handles import JobHandle, StoreJob, StoreJobs

P = ParamSpec("P")
R = TypeVar("R")
# Of one call: by name, or by position.
Arguments = Mapping[str, Any] | tuple[Any, ...]


class Isolation(StrEnum):
    """Where a task runs: in a thread of the worker, or in its own process."""

    THREAD = "thread"
    PROCESS = "process"


_FROM_PARENTS = "; results of the jobs before it are in context.parents"
_NOBODY: Mapping[Ending, FollowUpTask] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TaskHome:
    """The objects that the tasks of one :class:`.ForgeJobs` share.

    ``call_context`` makes the context of a task that is called like a function.
    """

    router: Router
    store: StoreJob
    store_many: StoreJobs
    call_context: Callable[[Task[..., Any]], TaskContext] = lambda _: running_context()


class Task(Generic[P, R]):
    """A function registered with ``@forge.task``.

    For example::

        send_welcome.enqueue(user_id=7)
        send_welcome.options(queue="mail", delay=60).enqueue(user_id=7)
        send_welcome(user_id=7)  # an ordinary call

    Attributes:
        function: The function. An ``async`` function runs in its own event loop.
        kind: The kind of its jobs; the function's name by default.
        aliases: Other kinds whose jobs it runs.
    """

    def __init__(
        self,
        function: Callable[..., R],
        *,
        home: TaskHome,
        kind: str | None = None,
        aliases: Collection[str] = (),
        options: JobOptions = JobOptions(),  # noqa: B008  # it cannot be changed
        concurrency: ConcurrencyLimit | None = None,
        isolation: str = Isolation.THREAD,
        retry: RetryPolicy = DEFAULT_RETRY,
        follow_up_tasks: Mapping[Ending, FollowUpTask] = _NOBODY,
    ) -> None:
        # To register a task under a second kind, wrap its function, not the task.
        if isinstance(function, Task):
            function = function.function
        self.function: Callable[..., R] = function
        self.kind = _name_of(function) if kind is None else kind
        listed = [aliases] if isinstance(aliases, str) else aliases
        self.aliases = tuple(several("aliases", listed, 'aliases=["old_kind"]'))
        for alias in self.aliases:
            check_kind(alias, "aliases")
        self.isolation = _isolation(isolation)
        self.retry = retry
        self._follow_up_tasks = follow_up_tasks
        self.parameters = Parameters(function)
        self.defaults = options
        self.concurrency = (
            None if concurrency is None else self.parameters.concurrency(concurrency)
        )
        self.home = home
        # A wrong option fails here, when the module is imported.
        self._template = options.new_job(self.kind, EMPTY_PAYLOAD, DefaultRouter())
        # Copies names and docstring, but no attributes, which could hide ours.
        functools.update_wrapper(self, function, updated=())

    def __repr__(self) -> str:
        return f"<Task {self.kind}>"

    @property
    def python_name(self) -> str:
        """The function's name, for messages."""
        name = str(getattr(self, "__name__", ""))
        return name if name.isidentifier() else "task"

    @property
    def timeout_s(self) -> float | None:
        """Seconds one attempt may take; None means no limit."""
        return self.defaults.timeout_s

    @property
    def follow_ups(self) -> FollowUps:
        """The tasks to enqueue when a job of it ends without success."""
        tasks = self._follow_up_tasks
        return {ending: task.as_follow_up() for ending, task in tasks.items()}

    def as_follow_up(self) -> FollowUp:
        """Return this task as a follow-up of jobs that end.

        Raises:
            InvalidInputError: The function does not take one argument.
        """
        try:
            (name,) = self.parameters.named((None,))
            self.parameters.check({name: None})
        except TypeError as error:
            raise InvalidInputError(
                "kind", f"{self.kind} must take the job or batch that ended: {error}"
            ) from None
        queue_name = self.defaults.queue or self.home.router(self.kind)
        # A wrong name must fail here, not when the end of a job is stored.
        check_queue_name(queue_name)
        return FollowUp(
            self.kind,
            name,
            queue_name,
            self.defaults.priority,
            self.defaults.max_attempts,
        )

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now.

        A task that takes a context gets that of the calling task. Outside a task it
        gets a new one of a first attempt, which nothing cancels and whose progress is
        dropped.
        """
        if not self.parameters.takes_context:
            return self.function(*args, **kwargs)
        context = entered_context()
        if context is not None:
            return self.function(context, *args, **kwargs)
        context = self.home.call_context(self)
        leave = enter(context)
        try:
            return self.function(context, *args, **kwargs)
        finally:
            leave()

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """Store a job that calls the function with these arguments in a worker.

        Raises:
            InvalidInputError: The arguments do not fit the signature or are not JSON.
            QueueFullError: The queue has reached its limit of waiting jobs.
            StorageOutcomeUnknownError: The job may be stored; the error has its id.
            StorageError: The job was not stored.
        """
        return self.home.store(self.new_job(self.defaults, args, kwargs))

    def enqueue_many(self, calls: Iterable[Arguments]) -> list[JobHandle]:
        """Store up to 10,000 jobs of this task, all or none.

        For example::

            send_welcome.enqueue_many({"user_id": each.id} for each in users)

        Args:
            calls: The arguments of each job: a dict by name, or a tuple by position.

        Returns:
            A handle on each job, in order; see :meth:`ForgeJobs.enqueue_many`, which
            also lists the errors and takes jobs of several tasks.
        """
        return self.options().enqueue_many(calls)

    def job(self, /, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """Return the job that :meth:`enqueue` would store, for ``enqueue_many``."""
        return self.new_job(self.defaults, args, kwargs)

    def options(self, **options: Unpack[EnqueueOptions]) -> BoundTask[P]:
        """Return the task with other options, to enqueue jobs with.

        For example, ``send_welcome.options(delay=60).enqueue(user_id=7)``.

        Args:
            options: Those of :class:`EnqueueOptions`. None keeps the task's.
                ``enqueue`` refuses a value that is out of bounds.

        Raises:
            TypeError: There is no such option.
        """
        connection = options.pop("connection", None)
        return BoundTask(self, self.defaults.as_called(**options), connection)

    def job_for(self, arguments: object, options: JobOptions) -> NewJob:
        """Return a job for a JSON object of arguments by name.

        Raises:
            InvalidInputError: The object does not fit the function, or an option is out
                of bounds.
        """
        payload = self.payload_of(arguments)
        return options.new_job(self.kind, payload, self.home.router)

    def payload_of(self, arguments: object) -> str:
        """Return the JSON text of such an object; raises as :meth:`job_for`."""
        if type(arguments) is not dict:
            raise payload_error(self.kind, self.parameters)
        try:
            payload = dump(arguments)
            self.parameters.loaded(arguments)
        except TypeError as error:
            raise InvalidInputError("payload", str(error)).in_task(self.kind) from None
        except InvalidInputError as error:
            raise error.in_task(self.kind) from None
        return payload

    def new_job(
        self, options: JobOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> NewJob:
        """Return a job for a call; errors as for :meth:`enqueue`."""
        try:
            # Most calls are by name, and a comparison is cheaper than binding.
            if not args and self.parameters.are_ready(kwargs):
                arguments = kwargs
            else:
                arguments = self._bound(args, kwargs, options.after)
            if options is not self.defaults or options.dedupe_by_args:
                return options.new_job(self.kind, dump(arguments), self.home.router)
            queue_name = options.queue or self.home.router(self.kind)
            # Read once: another thread may replace it for a queue of its own.
            template = self._template
            if template.queue_name != queue_name:
                template = options.new_job(self.kind, EMPTY_PAYLOAD, self.home.router)
                self._template = template
            if not arguments:
                return template
            payload = dump(arguments, max_bytes=MAX_PAYLOAD_BYTES)
        except InvalidInputError as error:
            raise error.in_task(self.kind) from None
        return template.with_checked(payload=payload)

    def _bound(self, args: Any, kwargs: Any, after: object) -> dict[str, Any]:
        try:
            return self.parameters.bind(args, kwargs)
        except TypeError as error:
            why = f"{error}{_FROM_PARENTS if after else ''}"
            raise call_error(
                self.python_name, self.parameters, args, kwargs, why
            ) from None

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run once with a stored payload; never raises.

        A payload that is damaged or does not fit the signature any more is
        :class:`Dead`, because a retry would not help.
        """
        try:
            arguments = load_text(payload)
        except InvalidInputError as error:
            return Dead(clip(f"corrupt row: {error.message}"))
        if not isinstance(arguments, dict):
            return Dead("bad arguments: the payload is not a JSON object")
        try:
            arguments = self.parameters.loaded(arguments)
        except TypeError as error:
            return Dead(clip(f"bad arguments: {error}"))
        except InvalidInputError as error:
            return Dead(clip(f"bad arguments: {error.in_task(self.kind)}"))
        # In a copy, so that changes to context variables, such as decimal's precision,
        # do not leak into the next job.
        return copy_context().run(self._call, context, arguments)

    def apply(self, context: TaskContext, arguments: dict[str, Any]) -> object:
        """Call the function in a context; return its result, also of a coroutine."""
        # A worker has entered it, around the application's context.
        leave = None if entered_context() is context else enter(context)
        try:
            if self.parameters.takes_context:
                value: object = self.function(context, **arguments)
            else:
                value = self.function(**arguments)
            return run_coroutine(value) if inspect.iscoroutine(value) else value
        finally:
            if leave is not None:
                leave()

    def _call(self, context: TaskContext, arguments: dict[str, Any]) -> Outcome:
        try:
            return of_value(context, self.apply(context, arguments))
        except BaseException as error:  # noqa: BLE001  # must not end the worker
            outcome = of_error(context, self.retry, error)
            context.dispose(error)
            return outcome


class BoundTask(Generic[P]):
    """A task with chosen options, returned by :meth:`Task.options`."""

    def __init__(
        self, task: Task[P, Any], options: JobOptions, connection: object | None
    ) -> None:
        self._task = task
        self._options = options
        self._connection = connection

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """Store a job with these options; see :meth:`Task.enqueue`."""
        task = self._task
        job = task.new_job(self._options, args, kwargs)
        return task.home.store(job, connection=self._connection)

    def enqueue_many(self, calls: Iterable[Arguments]) -> list[JobHandle]:
        """Store jobs with these options; see :meth:`Task.enqueue_many`."""
        task = self._task
        jobs = jobs_of(
            task.python_name,
            task.parameters.first,
            calls,
            functools.partial(task.new_job, self._options),
        )
        return task.home.store_many(jobs, connection=self._connection)

    def job(self, /, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """Return a job with these options; see :meth:`Task.job`."""
        return self._task.new_job(self._options, args, kwargs)


teach(Task, OF_TASKS)
teach(BoundTask, OF_TASKS)


def policy_of(task: object) -> RetryPolicy:
    """Return the retry policy of a task of any class."""
    return task.retry if isinstance(task, Task) else DEFAULT_RETRY


def _isolation(value: str) -> Isolation:
    try:
        return Isolation(value)
    except ValueError:
        words = " nor ".join(repr(str(each)) for each in Isolation)
        raise InvalidInputError(
            "isolation", f"{shown(value)} is neither {words}"
        ) from None


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise TypeError(f"{function!r} has no name; give the task a kind")
    return name
