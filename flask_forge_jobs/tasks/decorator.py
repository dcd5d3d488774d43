"""Task: a function that can be enqueued.

The function stays what it was and can be called. ``enqueue`` takes its arguments,
checks that they bind to its signature, and stores them as a JSON object of parameter
name to value, so the order of parameters may change between releases.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, ParamSpec, TypeVar, cast

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_kind
from flask_forge_jobs.model.jobs import (
    DEFAULT_MAX_ATTEMPTS,
    EnqueueResult,
    check_timeout,
)
from flask_forge_jobs.model.outcomes import (
    MAX_RESULT_BYTES,
    Dead,
    Done,
    Failed,
    Outcome,
    Throttled,
)
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.tasks.context import TaskContext, enter, running_context
from flask_forge_jobs.tasks.failures import describe_failure, forget_frames

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job is enqueued, apart from its arguments; see :class:`NewJob`.

    ``queue`` None leaves the choice to the application's router.
    """

    queue: str | None = None
    priority: int = 0
    run_at: datetime | None = None
    dedupe_key: str | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    timeout_s: float | None = None


Submit = Callable[[str, str, JobOptions], EnqueueResult]


class Task(Generic[P, R]):
    """A registered function; made by ``@forge.task``.

    Args:
        function: The function; ``async`` ones run in an event loop of their own.
        kind: Kind of its jobs.
        options: Defaults of its jobs.
        submit: Stores a job, given kind, payload and options.

    Raises:
        InvalidInputError: The kind or the time limit is not allowed.
        TypeError: The function takes positional-only or ``*args`` parameters, which a
            JSON object cannot carry.
    """

    def __init__(
        self,
        function: Callable[..., R],
        *,
        kind: str,
        options: JobOptions,
        submit: Submit,
    ) -> None:
        self.function = function
        self.kind = check_kind(kind)
        if options.timeout_s is not None:
            check_timeout(options.timeout_s)
        self._defaults = options
        self._submit = submit
        self._signature, self._takes_context = _payload_signature(function)
        self._is_async = inspect.iscoroutinefunction(function)
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", kind)
        self.__wrapped__ = function

    def __repr__(self) -> str:
        """Name the kind."""
        return f"<Task {self.kind}>"

    @property
    def timeout_s(self) -> float | None:
        """Seconds one attempt may take; None means no limit."""
        return self._defaults.timeout_s

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now.

        A task that takes a context gets the one of the task that calls it.
        """
        if self._takes_context:
            return self.function(running_context(), *args, **kwargs)
        return self.function(*args, **kwargs)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> EnqueueResult:
        """Store a job that will call the function with these arguments.

        Raises:
            InvalidInputError: The arguments do not bind to the signature or are not
                JSON; the parameter is named.
            StorageError: The job was not stored.
        """
        return self._enqueue(self._defaults, args, kwargs)

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        dedupe_key: str | None = None,
        max_attempts: int | None = None,
        timeout_s: float | None = None,
    ) -> BoundTask[P]:
        """Return the task with other options for the jobs enqueued through it.

        Args:
            queue: Queue to wait in.
            priority: Lower runs first.
            run_at: Not before this instant; must carry a zone.
            dedupe_key: While an unfinished job holds the key, no second one is stored.
            max_attempts: How often the job may run, 1 to 1000.
            timeout_s: Seconds one attempt may take.

        An option that is None stays as it is.
        """
        given: dict[str, Any] = {
            "queue": queue,
            "priority": priority,
            "run_at": run_at,
            "dedupe_key": dedupe_key,
            "max_attempts": max_attempts,
            "timeout_s": timeout_s,
        }
        changed = {name: value for name, value in given.items() if value is not None}
        chosen = replace(self._defaults, **changed)
        return BoundTask(lambda args, kwargs: self._enqueue(chosen, args, kwargs))

    def _enqueue(
        self, options: JobOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> EnqueueResult:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidInputError("arguments", f"{self.kind}: {error}") from None
        return self._submit(self.kind, dump(self._named(bound)), options)

    @staticmethod
    def _named(bound: inspect.BoundArguments) -> dict[str, Any]:
        """Return arguments by name, ``**kwargs`` among them."""
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            parameter = bound.signature.parameters[name]
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            else:
                named[name] = value
        return named

    # -- on the worker ---------------------------------------------------------------

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run once with a stored payload; never raises.

        Args:
            context: The job's context.
            payload: JSON text of an object of parameter name to value.

        Returns:
            How it ended. A payload that is damaged, or that does not bind to the
            signature any more, is :class:`Dead`: trying again would not help.
        """
        try:
            arguments = json.loads(payload)
            if not isinstance(arguments, dict):
                return Dead("corrupt row: the payload is not a JSON object")
            self._signature.bind(**arguments)
        except ValueError as error:
            return Dead(f"corrupt row: {error}")
        except TypeError as error:
            return Dead(f"bad arguments: {error}")
        return self._call(context, arguments)

    def _call(self, context: TaskContext, arguments: dict[str, Any]) -> Outcome:
        leave = enter(context)
        try:
            positional = (context,) if self._takes_context else ()
            value = self.function(*positional, **arguments)
            if self._is_async:
                value = asyncio.run(cast("Any", value))
        except (Throttled, Dead) as outcome:
            forget_frames(outcome)
            return outcome
        except BaseException as error:  # no task may end its worker
            logger.info("task %s raised", self.kind, exc_info=True)
            message = describe_failure(error)
            forget_frames(error)
            return Failed(message)
        finally:
            leave()
        return self._done(context, value)

    def _done(self, context: TaskContext, value: object) -> Outcome:
        if value is None:
            return Done()
        if isinstance(value, Throttled | Dead):
            return value
        try:
            return Done(dump(value, "result", MAX_RESULT_BYTES))
        except InvalidInputError as error:
            logger.warning(
                "the result of job %s is not kept: %s", context.job_id, error
            )
            return Done()


class BoundTask(Generic[P]):
    """A task with chosen options; made by :meth:`Task.options`."""

    def __init__(
        self, enqueue: Callable[[tuple[Any, ...], dict[str, Any]], EnqueueResult]
    ) -> None:
        self._enqueue = enqueue

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> EnqueueResult:
        """Store a job with these options; see :meth:`Task.enqueue`."""
        return self._enqueue(args, kwargs)


def _payload_signature(function: Callable[..., Any]) -> tuple[inspect.Signature, bool]:
    """Return the parameters that a payload fills, and whether a context comes first."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    takes_context = bool(parameters) and _is_context(parameters[0].annotation)
    if takes_context:
        parameters = parameters[1:]
    for parameter in parameters:
        if parameter.kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.VAR_POSITIONAL,
        ):
            raise TypeError(
                f"{function.__qualname__}: parameter {parameter.name!r} has no name "
                "that a payload could carry; use ordinary or keyword-only parameters"
            )
    return signature.replace(parameters=parameters), takes_context


def _is_context(annotation: object) -> bool:
    if isinstance(annotation, str):
        # Postponed annotations stay text; resolving them could fail for other names.
        return annotation.strip("'\"").rpartition(".")[2] == TaskContext.__name__
    return annotation is TaskContext
