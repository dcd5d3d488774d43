"""What one application keeps, and how to find it from a view or a command.

The state hangs on the application, never the other way round, so several applications
in one process do not meet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import cast

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.config.database import ChosenDatabase
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.masking import Masking
from flask_forge_jobs.runtime.hints import Hints
from flask_forge_jobs.runtime.inline_worker import InlineWorker, one_deeper
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.limits import RateLimits
from flask_forge_jobs.tasks.observer import NOBODY, Observer
from flask_forge_jobs.tasks.outside import Outside
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import Router
from flask_forge_jobs.tracing import carried

EXTENSION_NAME = "forge_jobs"


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """The parts of one application.

    Args:
        name: The application's own name; cron schedules of its code carry it.
        settings: Its checked keys.
        database: The database that was chosen, and what chose it.
        storage: The stores; opened at the first use.
        registry: Kind to task.
        router: Names the queue of a kind that is enqueued without one.
        clock: Source of time.
        task_scope: Opened around each run of a task: a fresh application context.
        status_url: Returns the link at which a browser may follow a job, for so many
            seconds.
        is_inline: Whether jobs run where they are enqueued.
        observer: Hears of jobs and of workers.
        hints: What a developer is told before a job is stored; None tells nothing.
    """

    name: str
    settings: Settings
    database: ChosenDatabase
    storage: Storage
    registry: TaskRegistry
    router: Router
    clock: Clock
    task_scope: Callable[[], AbstractContextManager[object]]
    status_url: Callable[[str, float], str]
    is_inline: Callable[[], bool] = lambda: False
    observer: Observer = NOBODY
    hints: Hints | None = None

    def enqueue(
        self, job: NewJob, *, connection: object | None = None
    ) -> EnqueueResult:
        """Store a job, and run it if jobs run where they are enqueued.

        Errors as for :meth:`.JobQueue.enqueue`; inline, whatever the task raises.
        """
        if job.queue_name is None:
            job = job.routed(self.router)
        taken_along = carried()
        if taken_along is not None:
            job = job.with_carried(taken_along)
        # Another connection's transaction may hold the file that hints would look into.
        if connection is None and self.hints is not None and self.hints.are_wanted():
            self.hints.give([str(job.queue_name)])
        result = self.storage.jobs.enqueue(job, connection=connection)
        self.observer.enqueued((result,))
        if connection is None and self.is_inline():
            self.run_inline([result])
        return result

    def enqueue_many(
        self, jobs: Sequence[NewJob], *, connection: object | None = None
    ) -> list[EnqueueResult]:
        """Do the same for several jobs, which run once all are stored.

        The first that fails ends it; the others wait.
        """
        taken_along = carried()
        routed = [job.routed(self.router).with_carried(taken_along) for job in jobs]
        if connection is None and self.hints is not None and self.hints.are_wanted():
            self.hints.give([str(job.queue_name) for job in routed])
        results = self.storage.jobs.enqueue_many(routed, connection=connection)
        self.observer.enqueued(results)
        if connection is None and self.is_inline():
            self.run_inline(results)
        return results

    def run_inline(self, results: Iterable[EnqueueResult]) -> None:
        """Run new jobs in the application context of the caller.

        A job waits all the same when it is not due, when its queue is paused, or when
        its task is registered elsewhere.

        Raises:
            RuntimeError: Jobs that enqueue jobs are nested too deeply.
            BaseException: What a task raises.
        """
        plan = replace(self.runtime(1).plan, scope=contextlib.nullcontext)
        for result in results:
            if result.is_deduped or self.registry.get(result.kind) is None:
                continue
            with one_deeper(result.kind):
                run = InlineWorker(plan, enqueue=self.enqueue).run_one(result.id)
            if run is not None:
                run.raise_error()

    def runtime(self, threads: int) -> QueueRuntime:
        """Return a worker runtime for this application."""
        runtime = QueueRuntime(
            self.storage,
            self.registry,
            threads=threads,
            scope=self.task_scope,
            lease_s=self.settings.lease_s,
            cancel_grace_s=self.settings.cancel_grace_s,
            clock=self.clock,
            router=self.router,
            mask=Masking(self.settings.masked_keys).text,
        )
        runtime.plan.observer = self.observer
        return runtime.with_schedules_of(self.name)


def state_of(app: Flask) -> ApplicationState:
    """Return the state of an application.

    Raises:
        RuntimeError: ``ForgeJobs.init_app`` was not called for it.
    """
    state = app.extensions.get(EXTENSION_NAME)
    if state is None:
        raise RuntimeError(
            "this application has no ForgeJobs; call forge.init_app(app) first"
        )
    return cast("ApplicationState", state)


def inline_rule(
    settings: Settings, is_testing: Callable[[], bool]
) -> Callable[[], bool]:
    """Return what tells whether jobs run where they are enqueued."""
    if settings.inline == "auto":
        return is_testing
    return lambda: settings.inline == "on"


def outside(clock: Clock, router: Router) -> Outside:
    """Return what makes contexts for calls of tasks where none runs.

    Follow-up jobs and rate limits are those of the application that is current when a
    task asks.
    """
    rate_limits = LocalProxy(lambda: current().storage.rate_limits)
    return Outside(
        clock=clock,
        router=router,
        enqueue=lambda job: current().enqueue(job),  # looked up each time
        rate_limits=cast("RateLimits", rate_limits),
    )


def current() -> ApplicationState:
    """Return the state of the current application.

    Raises:
        RuntimeError: There is no application context, or no ForgeJobs in it.
    """
    try:
        # The application itself: each look through the proxy costs six calls.
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    except RuntimeError:
        raise RuntimeError(
            "ForgeJobs works within an application context: in a view, a command, a "
            "task, or under `with app.app_context():`"
        ) from None
    state: ApplicationState | None = app.extensions.get(EXTENSION_NAME)
    return state_of(app) if state is None else state
