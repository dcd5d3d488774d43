"""JobsKit: what a test does with the jobs of an application."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Coroutine, Iterable, Mapping
from contextvars import copy_context
from dataclasses import replace
from datetime import datetime, timedelta
from typing import (
    Any,
    Literal,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    get_args,
    overload,
)

from flask import Flask

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import Job, JobFilter
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.runtime.inline_worker import InlineWorker
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.state import EXTENSION_NAME, ApplicationState, state_of
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.direct_calls import DirectCalls
from flask_forge_jobs.testing.assertions import Wanted, missing_text, unwanted_text
from flask_forge_jobs.testing.clock import FrozenClock
from flask_forge_jobs.testing.outcomes import RanJob

P = ParamSpec("P")
R = TypeVar("R")
Mode = Literal["inline", "queued", "drain"]

MODES = get_args(Mode)
# More at one go are taken for a task that enqueues itself without end.
MOST_AT_ONCE = 1000
_PAGE = 1000


class JobsKit:
    """The jobs of an application in a test; a context manager.

    While it is open the application is in ``TESTING`` mode. Jobs in memory are gone at
    its start, so each test begins with none; the database that a setting names is left
    as it is, and jobs that were there before are run by :meth:`drain` but not seen by
    the assertions.

    Args:
        app: An application with ForgeJobs.
        mode: ``"queued"``: jobs wait until :meth:`drain` or for ever. ``"drain"``:
            after each request to the application what is due runs, as a worker would
            run it. ``"inline"``: a job runs where it is enqueued, as under ``TESTING``
            without the kit.

    Attributes:
        progress: What tasks have reported under :meth:`perform`, the latest last.
    """

    def __init__(self, app: Flask, mode: Mode = "queued") -> None:
        self.app = app
        self.progress: list[Any] = []
        self._stack = contextlib.ExitStack()
        self._clock: FrozenClock | None = None
        self.mode = mode

    @property
    def mode(self) -> Mode:
        """What happens to jobs that are enqueued; may be changed at any time."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in MODES:
            raise ValueError(f"{mode!r} is not one of {', '.join(MODES)}")
        self._mode = mode

    def __enter__(self) -> Self:
        """Take over the application's jobs."""
        self._state = state_of(self.app)
        self._clock = None
        with self._stack:
            self._take_over()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the application back as it was."""
        self._stack.close()

    def _take_over(self) -> None:
        before, self.app.testing = self.app.testing, True
        self._stack.callback(setattr, self.app, "testing", before)
        storage, settings = self._state.storage, self._state.database.settings
        if settings.is_memory or settings.is_unnamed:
            storage.close()  # what is in memory is gone, a file is left for memory
        storage.open()
        self._stack.callback(storage.close)
        self._state = replace(self._state, is_inline=lambda: self.mode == "inline")
        extensions = self.app.extensions
        self._stack.callback(
            extensions.__setitem__, EXTENSION_NAME, extensions[EXTENSION_NAME]
        )
        extensions[EXTENSION_NAME] = self._state
        self._runtime = self._make_runtime(self._state)
        self._runtime.declare()
        (row,) = storage.database.read_one("now")
        self._begun_at = from_micros(int(row[0]))
        self._direct_calls = DirectCalls(
            clock=self._state.clock,
            router=self._state.router,
            enqueue=self._state.enqueue,
            rate_limits=storage.rate_limits,
        )
        self._drain_after_requests()

    @staticmethod
    def _make_runtime(state: ApplicationState) -> QueueRuntime:
        runtime = state.runtime(1)
        runtime.plan.jitter = None  # so that a test can say when a retry is due
        return runtime

    @property
    def clock(self) -> FrozenClock:
        """The clock of the jobs, which stands still from its first use on.

        Moving it brings on schedules, delays, back-off and rate limits. The
        application's own clocks go on.

        Raises:
            RuntimeError: The jobs are in PostgreSQL, which has a clock of its own.
        """
        if self._clock is None:
            if self._state.storage.backend != "sqlite":
                raise RuntimeError(
                    "PostgreSQL goes by the clock of its server, which a test cannot "
                    "move; leave FORGE_JOBS_DATABASE_URL out, or use SQLite"
                )
            # What the code declares now is due by the time that is left.
            self._clock = FrozenClock(self._state.clock, self._runtime.declare)
            for name in ("now_us", "monotonic"):
                self._replace(self._state.clock, name, getattr(self._clock, name))
        return self._clock

    def _replace(self, owner: object, name: str, value: object) -> None:
        """Set an attribute of one object until the end."""
        setattr(owner, name, value)
        self._stack.callback(delattr, owner, name)

    def _drain_after_requests(self) -> None:
        inner = self.app.wsgi_app

        def outer(environ: Any, start_response: Any) -> Iterable[bytes]:
            answer = inner(environ, start_response)
            if self.mode == "drain":
                self.drain()
            return answer

        self.app.wsgi_app = outer  # type: ignore[method-assign]  # as Flask's manual does
        self._stack.callback(setattr, self.app, "wsgi_app", inner)

    # -- running ---------------------------------------------------------------------

    def drain(self, *queues: str) -> list[RanJob]:
        """Run what is due, and what that enqueues, until nothing is; return the runs.

        Schedules that are due are fired first. A retry that becomes due meanwhile runs
        too; once :attr:`clock` is used none does. Each job has an application context
        of its own. What a task raises ends its job as in a worker and is not raised
        here; look at the outcomes.

        Args:
            queues: Only these; all that have jobs by default.

        Raises:
            RuntimeError: A thousand jobs have run, and more are due.
        """
        self._runtime.declare()
        storage = self._state.storage
        storage.cron.fire_due(self._state.router)
        worker = InlineWorker(self._runtime.plan, enqueue=self._state.enqueue)
        ran: list[RanJob] = []
        while run := worker.run_next(queues or self._queues()):
            ran.append(
                RanJob(storage.job_reader.get(run.job.id), run.outcome, run.error)
            )
            if not isinstance(run.error, Exception | None):
                raise run.error  # such as what pytest.fail() or Ctrl-C raises
            if len(ran) >= MOST_AT_ONCE:
                raise RuntimeError(
                    f"{len(ran)} jobs have run and more may be due; does "
                    f"{run.job.kind} enqueue itself?"
                )
        return ran

    def _queues(self) -> Collection[str]:
        return sorted(self._state.storage.job_reader.statistics())

    @overload
    def perform(
        self,
        task: Task[P, Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R: ...

    @overload
    def perform(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def perform(self, task: Task[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a task as a worker would, without a job, and return what it returns.

        The arguments are checked and go through JSON as they would when enqueued. The
        task runs in an application context of its own, with the context of a first
        attempt; what it raises is raised here.

        Args:
            task: What to run.
            args: Its arguments.
            kwargs: Its arguments by name.

        Raises:
            InvalidInputError: The arguments cannot be enqueued.
        """
        stored = cast("dict[str, Any]", load_text(task.job(*args, **kwargs).payload))
        arguments = task.parameters.loaded(stored)
        context = self.context(task)
        with self.app.app_context():
            return copy_context().run(task.apply, context, arguments)

    def context(
        self,
        task: Task[..., Any],
        *,
        attempt: int = 1,
        max_attempts: int | None = None,
    ) -> TaskContext:
        """Return a context to call a task's function with.

        ``send.function(forge_jobs.context(send, attempt=5), 7)`` calls it as a fifth
        attempt would.

        Args:
            task: The task.
            attempt: Which attempt it is, from 1.
            max_attempts: Most attempts; the task's by default.
        """
        return self._direct_calls.context(
            task,
            attempt=attempt,
            max_attempts=max_attempts,
            progress_sink=lambda text: self.progress.append(load_text(text)),
        )

    # -- looking ---------------------------------------------------------------------

    def enqueued(self, task: Task[..., Any] | str | None = None) -> list[Job]:
        """Return what was enqueued since the test began, the oldest first.

        Args:
            task: Only jobs of this task or kind.
        """
        reader = self._state.storage.job_reader
        kinds = () if task is None else (_kind_of(task),)
        wanted = JobFilter(kinds=kinds, enqueued_from=self._begun_at)
        rows = reader.page(wanted, _PAGE).rows
        return [reader.get(row.id) for row in reversed(rows)]

    def assert_enqueued(
        self,
        task: Task[..., Any] | str,
        *,
        args: Mapping[str, object] | tuple[object, ...] | None = None,
        queue: str | None = None,
        at: datetime | timedelta | None = None,
    ) -> Job:
        """Return the first job that fits, whatever has become of it since.

        Args:
            task: The task, or a kind.
            args: Arguments it was enqueued with, by name or as a tuple; others that it
                has do not matter.
            queue: The queue it was put in.
            at: When it may start: an instant with a zone, or how long after it was
                enqueued; give or take five seconds.

        Raises:
            AssertionError: None fits; the message shows how the closest ones differ.
        """
        __tracebackhide__ = True
        wanted = Wanted(_kind_of(task), _named(task, args), queue, at)
        jobs = self.enqueued(task)
        for job in jobs:
            if not wanted.differences(job):
                return job
        others = sorted({job.kind for job in self.enqueued()})
        raise AssertionError(missing_text(wanted, jobs, others))

    def assert_not_enqueued(
        self,
        task: Task[..., Any] | str,
        *,
        args: Mapping[str, object] | tuple[object, ...] | None = None,
        queue: str | None = None,
        at: datetime | timedelta | None = None,
    ) -> None:
        """Make sure that no job fits; the arguments are those of the opposite.

        Raises:
            AssertionError: One does; the message shows those that do.
        """
        __tracebackhide__ = True
        wanted = Wanted(_kind_of(task), _named(task, args), queue, at)
        found = [job for job in self.enqueued(task) if not wanted.differences(job)]
        if found:
            raise AssertionError(unwanted_text(wanted, found))


def _kind_of(task: Task[..., Any] | str) -> str:
    return task if isinstance(task, str) else task.kind


def _named(
    task: Task[..., Any] | str,
    args: Mapping[str, object] | tuple[object, ...] | None,
) -> Mapping[str, object] | None:
    if isinstance(task, str):
        if isinstance(args, tuple):
            raise TypeError("a kind has no parameters; give args as a dict")
        return args
    if args is None:
        return None
    named = task.parameters.named(args) if isinstance(args, tuple) else args
    return {name: _as_stored(task, name, value) for name, value in named.items()}


def _as_stored(task: Task[..., Any], name: str, value: object) -> object:
    try:
        return task.parameters.encoded({name: value})[name]
    except InvalidInputError:
        return value  # it is written as it is stored
