"""ForgeJobs: the Flask extension, and the one place that puts everything together."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Unpack

from flask import Flask, current_app, url_for

from flask_forge_jobs.api.blueprint import BLUEPRINT_NAME, create_blueprint
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.v1.status import ENDPOINT
from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.database import ChosenDatabase
from flask_forge_jobs.config.paths import FixedPaths, QueuePaths
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.embedded import embed_worker
from flask_forge_jobs.model.jobs import CancelOutcome, NewJob
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.runtime.hints import Hints
from flask_forge_jobs.signals import SignalObserver
from flask_forge_jobs.state import (
    EXTENSION_NAME,
    ApplicationState,
    current,
    inline_rule,
    outside,
)
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.tasks.bundled import noop_echo
from flask_forge_jobs.tasks.declarations import Declarations
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.handles import JobHandle
from flask_forge_jobs.tasks.options import EnqueueOptions, JobOptions
from flask_forge_jobs.tasks.registering import TaskRouter
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import DefaultRouter, Router


class ForgeJobs(Declarations):
    """Background jobs for a Flask application.

    ``ForgeJobs(app)`` or, in a factory, ``forge = ForgeJobs()`` and
    ``forge.init_app(app)``. Several applications may share one instance: they share its
    tasks and nothing else.

    Args:
        app: Passed on to :meth:`init_app`.
        router: Names the queue of a kind that is enqueued without one and whose task
            names none; sends everything to ``default`` by default.
        clock: Source of time; the system's by default.
        paths: Directories of ``queue_database.toml`` and of the SQLite file; the
            application's instance folder for both by default.
        database: The database, where it is chosen already; by default the keys of the
            application and ``queue_database.toml`` choose.
        open_to_loopback: Answer this machine without an authenticator outside debug
            mode too; for a server that listens on loopback only. A proxy on the machine
            that does not say that it is one looks the same.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        router: Router | None = None,
        clock: Clock | None = None,
        paths: QueuePaths | None = None,
        database: ChosenDatabase | None = None,
        open_to_loopback: bool = False,
    ) -> None:
        registry = TaskRegistry()
        router = TaskRouter(registry, DefaultRouter() if router is None else router)
        self._clock = clock or SystemClock()
        super().__init__(
            registry,
            router=router,
            store=_store,
            outside=outside(self._clock, router).context,
        )
        self._paths = paths
        self._database = database
        self._open_to_loopback = open_to_loopback
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add jobs to an application.

        Reads the ``FORGE_JOBS_`` keys, registers the blueprint ``forge_jobs`` and the
        command group ``flask forge-jobs``. Nothing is opened, so an application may be
        made before its server forks. Under ``TESTING`` the jobs are in memory, unless a
        setting or a file names a database. With ``FORGE_JOBS_ENABLE_DEMO`` the demo
        task is registered too.

        Raises:
            ConfigurationError: A key is unknown or its value is wrong.
            RuntimeError: The application was initialised before.
        """
        if EXTENSION_NAME in app.extensions:
            raise RuntimeError(
                "ForgeJobs.init_app was called twice for one application"
            )
        state = self._state(app, Settings.from_mapping(app.config))
        settings = state.settings
        embed_worker(app, state)
        app.register_blueprint(
            create_blueprint(
                state.storage,
                options=BlueprintOptions.from_settings(
                    settings,
                    router=self._router,
                    registry=self.registry,
                    clock=self._clock,
                    open_to_loopback=self._open_to_loopback,
                ),
            ),
            url_prefix=settings.url_prefix,
        )
        if settings.enable_demo and self.registry.get(noop_echo.KIND) is None:
            self.registry.add(noop_echo.NoopEcho())
        # Last, so that an application whose setup failed may be set up again.
        app.extensions[EXTENSION_NAME] = state
        app.cli.add_command(forge_jobs_group)
        app.shell_context_processor(lambda: {"forge": self})

    def _state(self, app: Flask, settings: Settings) -> ApplicationState:
        database = self._database or _choose_database(app, settings, self._paths)
        storage = open_storage(
            database.settings,
            clock=self._clock,
            migrate=settings.migrate,
            in_memory=lambda: app.testing and database.settings.is_unnamed,
        )
        # Every enqueue asks, and a property of Flask takes two calls.
        is_testing = partial(app.config.__getitem__, "TESTING")
        return ApplicationState(
            name=app.name,
            settings=settings,
            database=database,
            storage=storage,
            registry=self.registry,
            router=self._router,
            clock=self._clock,
            observer=SignalObserver(app),
            task_scope=app.app_context,
            status_url=partial(
                _status_url, StatusLinks(settings.link_secrets, self._clock)
            ),
            is_inline=inline_rule(settings, is_testing),
            hints=Hints(
                storage,
                database.settings,
                are_wanted=lambda: app.config["DEBUG"] or app.config["TESTING"],
                is_testing=is_testing,
            ),
        )

    @property
    def storage(self) -> Storage:
        """The stores of the current application."""
        return current().storage

    def enqueue(
        self,
        kind: str,
        payload: object = None,
        **options: Unpack[EnqueueOptions],
    ) -> JobHandle:
        """Store a job of any kind, whether its task is registered here or elsewhere.

        A kind whose function is registered here gets that task's options, and its
        payload must fit the function, as for :meth:`Task.enqueue`. Under ``TESTING`` it
        runs here and now, and what it raises is raised; see :doc:`/howto/test`.

        Args:
            kind: Selects the task, 1 to 128 characters.
            payload: Any JSON value; None means an empty object.
            options: Those of :class:`EnqueueOptions`.

        Raises:
            InvalidInputError: A value is outside its bounds or is not JSON, or the
                connection cannot be joined: it is of another driver or to another
                database, closed, or in autocommit mode without a transaction.
            DuplicateJobError: The key is held by a job of another kind.
            QueueFullError: As many jobs wait in the queue as may.
            StorageOutcomeUnknownError: The job may be stored; the error has its id.
            StorageError: The job was not stored, for instance because the
                connection's transaction has failed.
            TypeError: There is no such option.
        """
        task = self.registry.get(kind)
        defaults = task.defaults if isinstance(task, Task) else JobOptions()
        connection = options.pop("connection", None)
        chosen = defaults.changed(**options)
        value = {} if payload is None else payload
        if isinstance(task, Task):
            job = task.job_for(value, chosen)
        else:
            job = chosen.new_job(kind, dump(value), self._router)
        return _store(job, connection=connection)

    def enqueue_many(
        self, jobs: Iterable[NewJob], *, connection: object | None = None
    ) -> list[JobHandle]:
        """Store up to 10,000 jobs, all or none.

        Args:
            jobs: Such as ``send_welcome.job(user_id=n) for n in user_ids``. The router
                is asked for those that name no queue.
            connection: Store them in this connection's transaction; see
                :meth:`enqueue`.

        Returns:
            A handle on each, in order; a job whose key is held, or comes earlier in
            ``jobs``, collapses onto the holder.

        Raises:
            InvalidInputError: There are more than 10,000, or the connection cannot be
                joined.
            DuplicateJobError: A key is held by a job of another kind.
            QueueFullError: A queue has no room for its jobs.
            StorageOutcomeUnknownError: All may be stored; the error has their ids.
            StorageError: No job was stored.
        """
        state = current()
        results = state.enqueue_many(list(jobs), connection=connection)
        return [JobHandle(state, result.id, result) for result in results]

    @staticmethod
    def job(job_id: str) -> JobHandle:
        """Return a handle on a job of the current application; reads nothing yet.

        Args:
            job_id: Any text; ``forge.job(id).exists`` tells whether it is a job's id,
                and whatever else is read of it raises :class:`.JobNotFoundError` if it
                is none.
        """
        return JobHandle(current(), job_id)

    def cancel(self, job_id: str, reason: str | None = None) -> CancelOutcome:
        """End a job that waits, or ask one that runs to stop.

        Args:
            job_id: The job.
            reason: Up to 1,000 characters for the last error of a job that waits.

        Returns:
            ``cancelled``, or ``cancel_requested`` of a job that runs.

        Raises:
            InvalidInputError: The reason is too long.
            JobNotFoundError: No job has this id.
            JobStateError: The job has ended.
        """
        return self.job(job_id).cancel(reason)


def _store(job: NewJob, *, connection: object | None = None) -> JobHandle:
    state = current()
    result = state.enqueue(job, connection=connection)
    return JobHandle(state, result.id, result)


def _status_url(links: StatusLinks, job_id: str, expires_in_s: float) -> str:
    token = links.token(current_app, job_id, expires_in_s)
    return url_for(f"{BLUEPRINT_NAME}.{ENDPOINT}", token=token)


def _choose_database(
    app: Flask, settings: Settings, paths: QueuePaths | None
) -> ChosenDatabase:
    """Choose by key, by file, or the SQLite file in the instance folder."""
    instance = Path(app.instance_path)
    return ChosenDatabase.resolve(settings, paths or FixedPaths(instance, instance))
