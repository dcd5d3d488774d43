"""The parts of one application, kept in ``app.extensions``.

The extension object holds none of them, so applications in one process stay apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from flask_forge_jobs.errors import BatchNotFoundError, JobNotFoundError
from flask_forge_jobs.model.batches import BatchEvent
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.runtime.run.observer import NOBODY, Observer
from flask_forge_jobs.tasks.direct_calls import DirectCalls
from flask_forge_jobs.tracing import carried

if TYPE_CHECKING:
    from flask_forge_jobs.clock import Clock
    from flask_forge_jobs.config.database import ChosenDatabase
    from flask_forge_jobs.config.settings import Settings
    from flask_forge_jobs.runtime.hints import Hints
    from flask_forge_jobs.runtime.runtime import QueueRuntime
    from flask_forge_jobs.storage.base import Storage
    from flask_forge_jobs.storage.limits import RateLimits
    from flask_forge_jobs.storage.standby import Standby
    from flask_forge_jobs.tasks.registry import TaskRegistry
    from flask_forge_jobs.tasks.routing import Router

EXTENSION_NAME = "forge_jobs"


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """The parts of one application.

    ``name`` marks the cron schedules of its code. ``storage`` opens at its first use.
    ``task_scope`` is entered around each run of a task. ``status_url`` takes a job's id
    and the seconds for which the link stays valid.
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
    standby: Standby | None = None

    def enqueue(
        self,
        job: NewJob,
        *,
        connection: object | None = None,
        store: Callable[[NewJob], EnqueueResult] | None = None,
    ) -> EnqueueResult:
        """Store a job; in inline mode, also run it and raise its task's exception.

        ``store`` stores it instead of the storage, with rows of the same transaction.
        """
        if job.queue_name is None:
            job = job.routed(self.router)
        taken_along = carried()
        if taken_along is not None:
            job = job.with_carried(taken_along)
        # The caller's transaction may lock the file that the hints would read.
        if (
            connection is None
            and self.hints is not None
            and any(self.hints.enabled_by())
        ):
            self.hints.give([str(job.queue_name)])
        jobs = self.storage.jobs
        if store is not None:
            result = store(job)
        elif connection is None:  # spares most enqueues a call
            result = jobs.enqueuer.enqueue(job)
        else:
            result = jobs.enqueue(job, connection=connection)
        if self.hints is not None and (job.queue_name, job.kind) not in self.hints.seen:
            self.hints.look_at(
                str(job.queue_name), job.kind, may_read=connection is None
            )
        self.observer.enqueued((result,))
        if connection is None and self.is_inline():
            self.run_inline([result])
        return result

    def enqueue_many(
        self, jobs: Sequence[NewJob], *, connection: object | None = None
    ) -> list[EnqueueResult]:
        """Store several jobs; in inline mode, run them in order until one fails."""
        taken_along = carried()
        routed = [job.routed(self.router).with_carried(taken_along) for job in jobs]
        if (
            connection is None
            and self.hints is not None
            and any(self.hints.enabled_by())
        ):
            self.hints.give([str(job.queue_name) for job in routed])
        results = self.storage.jobs.enqueue_many(routed, connection=connection)
        if self.hints is not None:
            pairs = {(str(job.queue_name), job.kind) for job in routed}
            for pair in pairs - self.hints.seen:
                self.hints.look_at(*pair, may_read=connection is None)
        self.observer.enqueued(results)
        if connection is None and self.is_inline():
            self.run_inline(results)
        return results

    @property
    def batch_open_s(self) -> float:
        """How long a batch stays open to which nothing is added."""
        return self.settings.batch_open_s

    def prepared(self, job: NewJob) -> NewJob:
        """Return a job with a queue, and with the context that it carries."""
        return job.routed(self.router).with_carried(carried())

    def added(
        self, results: Sequence[EnqueueResult], batch_id: str, *, may_run: bool
    ) -> None:
        """Tell of new jobs of a batch; in inline mode, run them and what follows."""
        self.observer.enqueued(results)
        if may_run and self.is_inline():
            self.run_inline(results)
            self._run_completions(batch_id)

    def _run_followers(self, job_id: str) -> None:
        """Run what is due because a job has ended."""
        for each in self.storage.links.of_job(job_id).dependents:
            if each.status is JobStatus.PENDING and not each.is_waiting:
                self._run_one(each.id, each.kind)
        with contextlib.suppress(JobNotFoundError):
            batch_id = self.storage.job_reader.get(job_id).batch_id
            if batch_id is not None:
                self._run_completions(batch_id)

    def _run_completions(self, batch_id: str) -> None:
        """Run the jobs at the events that a batch has come to, and what follows it."""
        with contextlib.suppress(BatchNotFoundError):
            self.storage.batches.fold([batch_id])
            batch = self.storage.batches.get(batch_id)
            if batch.cancel_requested_at is not None and batch.completed_at is None:
                batch = self.storage.batches.cancel(batch_id)
            for event in BatchEvent:
                completion = batch.completion(event)
                if completion is not None:
                    self._run_one(completion[1], completion[0].kind)
            if batch.completed_at is not None:
                self._run_followers(batch_id)

    def _run_one(self, job_id: str, kind: str) -> None:
        """Run a job, unless it may not start, and what follows it."""
        if self.registry.get(kind) is None:
            return
        from flask_forge_jobs.runtime.inline import InlineWorker, one_deeper

        plan = replace(self.runtime(1).plan, scope=contextlib.nullcontext)
        with one_deeper(kind):
            run = InlineWorker(plan, enqueue=self.enqueue).run_one(job_id)
            if run is not None:
                self._run_followers(job_id)
        if run is not None:
            run.raise_error()

    def run_inline(self, results: Iterable[EnqueueResult]) -> None:
        """Run new jobs in the caller's application context.

        A job still waits if it is not due, its queue is paused or its task is unknown.
        An exception of the task is raised here.
        """
        for result in results:
            if not result.is_deduped:
                self._run_one(result.id, result.kind)

    def runtime(self, threads: int) -> QueueRuntime:
        """Return a worker runtime for this application."""
        # Imported with the first worker: programs that only enqueue have none.
        from flask_forge_jobs.runtime.runtime import QueueRuntime

        runtime = QueueRuntime(
            self.storage,
            self.registry,
            threads=threads,
            scope=self.task_scope,
            lease_s=self.settings.lease_s,
            cancel_grace_s=self.settings.cancel_grace_s,
            clock=self.clock,
            router=self.router,
        )
        runtime.plan.observer = self.observer
        runtime.plan.home = self
        return runtime.with_schedules_of(self.name).with_log_lines(
            self.settings.log_level, prints=self.settings.log_print
        )


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
    """Return a function that says whether jobs run inline, read at each enqueue."""
    if settings.inline == "auto":
        return is_testing
    return lambda: settings.inline == "on"


def direct_calls(clock: Clock, router: Router) -> DirectCalls:
    """Return the source of contexts for tasks that are called like functions.

    They enqueue and take rate limits in the current application.
    """
    rate_limits = LocalProxy(lambda: current().storage.rate_limits)
    return DirectCalls(
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
        # Unwrapped once: each access through the proxy costs six calls.
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    except RuntimeError:
        raise RuntimeError(
            "ForgeJobs needs an application context: use it in a view, a command, a "
            "task, or inside `with app.app_context():`"
        ) from None
    state: ApplicationState | None = app.extensions.get(EXTENSION_NAME)
    return state_of(app) if state is None else state
