"""JobsKit: runs and checks the jobs of an application in tests."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Iterable, Mapping
from contextvars import copy_context
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, ParamSpec, Self, TypeVar, cast, get_args, overload

from flask import Flask

from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import Job, JobFilter
from flask_forge_jobs.model.ordering import JobOrder
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.runtime.inline import InlineRun, InlineWorker
from flask_forge_jobs.state import EXTENSION_NAME, state_of
from flask_forge_jobs.tasks.batches import BatchHandle
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.direct_calls import DirectCalls
from flask_forge_jobs.tasks.other_words import (
    OPTIONS_OF_CHECKS,
    OPTIONS_OF_DRAIN,
    names_its_options,
)
from flask_forge_jobs.tasks.registry import attempts_of_kind
from flask_forge_jobs.testing.assertions import JobMatch, missing_text, unexpected_text
from flask_forge_jobs.testing.calls import check_queues, check_task, kind_of, named_of
from flask_forge_jobs.testing.clock import FrozenClock
from flask_forge_jobs.testing.outcomes import RanJob
from flask_forge_jobs.testing.steps import NotedSteps

P = ParamSpec("P")
R = TypeVar("R")
Mode = Literal["inline", "queued", "drain"]

MODES = get_args(Mode)
MAX_AT_ONCE = 1000  # more jobs in one drain look like a task that enqueues itself
_PAGE = 1000
_ADVICE = "drain(raise_errors=False) leaves it to the outcome of the job"
_OLDEST_FIRST = JobOrder(descending=False)


class JobsKit:
    """The jobs of an application in a test; a context manager.

    For example::

        with JobsKit(app) as jobs:
            client.post("/signup", json={"email": "ada@example.com"})
            jobs.assert_enqueued(send_welcome, queue="mail")
            assert jobs.drain()[0].status == "done"

    With pytest, the fixture ``forge_jobs`` provides it. While it is open, the
    application is in ``TESTING`` mode. It starts without jobs if these are in memory;
    it leaves a configured database as it is, where :meth:`drain` also runs earlier jobs
    but the assertions ignore them.

    Args:
        app: An application with ForgeJobs.
        mode: ``"queued"`` (default): jobs wait for :meth:`drain`. ``"drain"``: due jobs
            run after each request, as in a worker. ``"inline"``: a job runs where it is
            enqueued, as with ``TESTING`` and no kit.

    Attributes:
        raise_errors: Whether :meth:`drain`, and mode ``"drain"`` after a request, raise
            what a task raises; default True.
        progress: Progress reports of tasks under :meth:`perform`, the latest last.
        steps: Results of the steps of the last :meth:`perform`, by name.
        saved: Values that tasks under :meth:`perform` have saved, the latest last.
    """

    def __init__(self, app: Flask, mode: Mode = "queued") -> None:
        self.app = app
        self.progress: list[Any] = []
        self.steps: dict[str, Any] = {}
        self.saved: list[Any] = []
        self.raise_errors = True
        self._stack = contextlib.ExitStack()
        self._clock: FrozenClock | None = None
        self.mode = mode

    @property
    def mode(self) -> Mode:
        """The mode; may be changed at any time."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in MODES:
            raise ValueError(f"{mode!r} is not one of {', '.join(MODES)}")
        self._mode = mode

    def __enter__(self) -> Self:
        self._state = state_of(self.app)
        self._clock = None
        with self._stack:
            self._take_over()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _take_over(self) -> None:
        before, self.app.testing = self.app.testing, True
        self._stack.callback(setattr, self.app, "testing", before)
        storage, settings = self._state.storage, self._state.database.settings
        if settings.is_memory or settings.is_unnamed:
            storage.close()  # drops the jobs in memory, or leaves a file for memory
        storage.open()
        self._stack.callback(storage.close)
        if self._state.hints is not None:
            self._state.hints.give(())
        self._state = replace(self._state, is_inline=lambda: self.mode == "inline")
        extensions = self.app.extensions
        self._stack.callback(
            extensions.__setitem__, EXTENSION_NAME, extensions[EXTENSION_NAME]
        )
        extensions[EXTENSION_NAME] = self._state
        self._runtime = self._state.runtime(1)
        self._runtime.plan.jitter = None  # so that a test knows when a retry is due
        self._runtime.declare()
        self._ignores_before = self._now() if self._holds_jobs() else None
        self._direct_calls = DirectCalls(
            clock=self._state.clock,
            router=self._state.router,
            enqueue=self._state.enqueue,
            rate_limits=storage.rate_limits,
        )
        self._drain_after_requests()

    def _holds_jobs(self) -> bool:
        reader = self._state.storage.job_reader
        return bool(reader.find(JobFilter(), _OLDEST_FIRST, 1, with_total=False).rows)

    def _now(self) -> datetime:
        (row,) = self._state.storage.database.read_one("now")
        return from_micros(int(row[0]))

    @property
    def clock(self) -> FrozenClock:
        """The clock of the jobs, which stands still from its first use.

        Move it to make schedules, delays, retries and rate limits due. It does not
        change ``datetime.now()``.

        Raises:
            RuntimeError: The jobs are in PostgreSQL, which uses the server's clock.
        """
        if self._clock is None:
            if self._state.storage.backend != "sqlite":
                raise RuntimeError(
                    "a test cannot move the clock of a PostgreSQL server; leave "
                    "FORGE_JOBS_DATABASE_URL out, or use SQLite"
                )
            # Before each move, declare schedules, so that they are due from then.
            self._clock = FrozenClock(self._state.clock, self._runtime.declare)
            for name in ("now_us", "monotonic"):
                self._replace(self._state.clock, name, getattr(self._clock, name))
        return self._clock

    def _replace(self, owner: object, name: str, value: object) -> None:
        """Set an attribute of an object until the kit closes."""
        if name in vars(owner):  # by a kit that is open around this one
            self._stack.callback(setattr, owner, name, getattr(owner, name))
        else:
            self._stack.callback(delattr, owner, name)
        setattr(owner, name, value)

    def _drain_after_requests(self) -> None:
        inner = self.app.wsgi_app

        def outer(environ: Any, start_response: Any) -> Iterable[bytes]:
            answer = inner(environ, start_response)
            if self.mode == "drain":
                self.drain()
            return answer

        self.app.wsgi_app = outer  # type: ignore[method-assign]  # as Flask's manual does
        self._stack.callback(setattr, self.app, "wsgi_app", inner)

    @names_its_options(OPTIONS_OF_DRAIN)
    def drain(self, *queues: str, raise_errors: bool | None = None) -> list[RanJob]:
        """Fire due schedules and run due jobs until none is left; return the runs.

        This includes jobs that these enqueue, and retries that become due meanwhile,
        unless :attr:`clock` stands still. Each job has its own application context.

        The first exception of a task is raised here, once its outcome is stored; jobs
        behind it wait. With ``raise_errors=False`` an exception ends its job only, as
        in a worker, and is the ``error`` of the run.

        Args:
            queues: Only these queues; all by default.
            raise_errors: Whether to raise; by default :attr:`raise_errors` decides.

        Raises:
            RuntimeError: More than a thousand jobs have run.
        """
        __tracebackhide__ = True
        check_queues(queues)
        may_raise = self.raise_errors if raise_errors is None else raise_errors
        self._runtime.declare()
        storage = self._state.storage
        attempts_of = partial(attempts_of_kind, self._state.registry)
        storage.cron.fire_due(self._state.router, attempts_of)
        worker = InlineWorker(self._runtime.plan, enqueue=self._state.enqueue)
        ran: list[RanJob] = []
        reader = storage.job_reader
        while run := self._run_next(worker, queues):
            ran.append(RanJob(reader.get(run.job.id), run.outcome, run.error))
            if not isinstance(run.error, Exception | None):
                raise run.error  # such as that of pytest.fail() or Ctrl-C
            if may_raise:
                run.raise_error(_ADVICE)
            if len(ran) > MAX_AT_ONCE:
                raise RuntimeError(
                    f"{len(ran)} jobs have run and more may be due; does "
                    f"{run.job.kind} enqueue itself?"
                )
        return ran

    def _run_next(
        self, worker: InlineWorker, queues: tuple[str, ...]
    ) -> InlineRun | None:
        storage = self._state.storage
        names = queues or sorted(storage.job_reader.statistics())
        run = worker.run_next(names)
        if run is None:
            # What workers do beside their jobs may make jobs due, or end them.
            storage.batches.tend(self._state.batch_open_s)
            run = worker.run_next(queues or sorted(storage.job_reader.statistics()))
        return run

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
        """Run a task as a worker would, without a job; return its result.

        The arguments pass through JSON. The task runs in its own application context,
        as a first attempt. Its exception is raised here.

        Args:
            task: The task.
            args: Its arguments.
            kwargs: Its arguments by name.

        Raises:
            InvalidInputError: The arguments cannot be enqueued.
        """
        check_task(task)
        stored = cast("dict[str, Any]", load_text(task.job(*args, **kwargs).payload))
        arguments = task.parameters.loaded(stored)
        self.steps = {}
        context = self.context(task)
        with self.app.app_context():
            return copy_context().run(task.apply, context, arguments)

    def context(
        self,
        task: Task[..., Any],
        *,
        attempt: int = 1,
        max_attempts: int | None = None,
        steps: Mapping[str, object] | None = None,
        checkpoint: object = None,
    ) -> TaskContext:
        """Return a context to call a task's function with.

        For example, ``send.function(forge_jobs.context(send, attempt=5), 7)``.

        Args:
            task: The task.
            attempt: The attempt, from 1; default 1.
            max_attempts: Most attempts; the task's by default.
            steps: Results of steps that earlier attempts have kept, by name.
            checkpoint: The value that an earlier attempt has saved.
        """
        check_task(task)
        return self._direct_calls.context(
            task,
            attempt=attempt,
            max_attempts=max_attempts,
            progress_sink=lambda text: self.progress.append(load_text(text)),
            keeper=NotedSteps(self.steps, self.saved, steps or {}, checkpoint),
        )

    def enqueued(self, task: Task[..., Any] | str | None = None) -> list[Job]:
        """Return the jobs that the test has enqueued, the oldest first.

        Args:
            task: Only jobs of this task or kind; all by default.
        """
        reader = self._state.storage.job_reader
        kinds = () if task is None else (kind_of(task),)
        job_filter = JobFilter(kinds=kinds, enqueued_from=self._ignores_before)
        page = reader.find(job_filter, _OLDEST_FIRST, _PAGE, with_total=False)
        ids = [row.id for row in page.rows]
        while page.end is not None:
            page = reader.find(
                job_filter, _OLDEST_FIRST, _PAGE, page.end, with_total=False
            )
            ids += [row.id for row in page.rows]
        return [reader.get(job_id) for job_id in ids]

    @names_its_options(OPTIONS_OF_CHECKS)
    def assert_enqueued(
        self,
        task: Task[..., Any] | str,
        *,
        args: Mapping[str, object] | tuple[object, ...] | None = None,
        queue: str | None = None,
        at: datetime | timedelta | None = None,
    ) -> Job:
        """Return the first job that matches, in any state.

        Args:
            task: The task, or a kind.
            args: Some of its arguments, by name or as a tuple.
            queue: Its queue.
            at: Its earliest start, within five seconds: a time with a zone, or a
                ``timedelta`` from the enqueue.

        Raises:
            AssertionError: None matches; the message shows how the closest ones differ.
        """
        __tracebackhide__ = True
        match = JobMatch(kind_of(task), named_of(task, args), queue, at)
        jobs = self.enqueued(task)
        for job in jobs:
            if not match.differences(job):
                return job
        others = sorted({job.kind for job in self.enqueued()})
        raise AssertionError(missing_text(match, jobs, others))

    @names_its_options(OPTIONS_OF_CHECKS)
    def assert_not_enqueued(
        self,
        task: Task[..., Any] | str,
        *,
        args: Mapping[str, object] | tuple[object, ...] | None = None,
        queue: str | None = None,
        at: datetime | timedelta | None = None,
    ) -> None:
        """Check that no job matches; see :meth:`assert_enqueued`.

        Raises:
            AssertionError: The message shows the jobs that match.
        """
        __tracebackhide__ = True
        match = JobMatch(kind_of(task), named_of(task, args), queue, at)
        matches = [job for job in self.enqueued(task) if not match.differences(job)]
        if matches:
            raise AssertionError(unexpected_text(match, matches))

    def assert_batched(
        self, name: str | None = None, *, total: int | None = None
    ) -> BatchHandle:
        """Check that the test has made a batch, and return the newest one that matches.

        Args:
            name: Its name; None accepts any.
            total: How many jobs it has; None accepts any number.

        Raises:
            AssertionError: No batch matches; the message names those that there are.
        """
        __tracebackhide__ = True
        batches = self._state.storage.batches.page(MAX_AT_ONCE)
        for each in batches:
            if name in (None, each.name) and total in (None, each.total):
                return BatchHandle(self._state, each.id)
        made = ", ".join(f"{each.name!r} of {each.total} jobs" for each in batches)
        raise AssertionError(
            f"no batch was made for: name={name!r}, total={total!r}\n"
            f"made: {made or 'none'}"
        )
