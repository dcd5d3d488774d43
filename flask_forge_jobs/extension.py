"""ForgeJobs: the Flask extension, and the one place that puts everything together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from flask import Flask

from flask_forge_jobs.api.blueprint import create_blueprint
from flask_forge_jobs.api.context import BlueprintOptions
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.database import DatabaseConfig
from flask_forge_jobs.config.paths import FixedPaths, QueuePaths
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.errors import ConfigurationError, InvalidInputError
from flask_forge_jobs.model.jobs import DEFAULT_MAX_ATTEMPTS, EnqueueResult, NewJob
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.state import EXTENSION_NAME, ApplicationState, current
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.connect import open_storage
from flask_forge_jobs.tasks.bundled import noop_echo
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import JobOptions, Task
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import DefaultRouter, Router

P = ParamSpec("P")
R = TypeVar("R")


class ForgeJobs:
    """Background jobs for a Flask application.

    ``ForgeJobs(app)`` or, in a factory, ``forge = ForgeJobs()`` and
    ``forge.init_app(app)``. Several applications may share one instance: they share its
    tasks and nothing else.

    Args:
        app: Passed on to :meth:`init_app`.
        router: Names the queue of a kind that is enqueued without one; sends everything
            to ``default`` by default.
        clock: Source of time; the system's by default.
        paths: Directories of ``queue_database.toml`` and of the SQLite file; the
            application's instance folder for both by default.
        open_to_loopback: Answer this machine without an authenticator outside debug
            mode too; for a server that listens on loopback only.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        router: Router | None = None,
        clock: Clock | None = None,
        paths: QueuePaths | None = None,
        open_to_loopback: bool = False,
    ) -> None:
        self.registry = TaskRegistry()
        self._router = DefaultRouter() if router is None else router
        self._clock = clock or SystemClock()
        self._paths = paths
        self._open_to_loopback = open_to_loopback
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add jobs to an application.

        Reads the ``FORGE_JOBS_`` keys, registers the blueprint ``forge_jobs`` and the
        command group ``flask forge-jobs``. Nothing is opened, so an application may be
        made before its server forks. With ``FORGE_JOBS_ENABLE_DEMO`` the demo task is
        registered too.

        Raises:
            ConfigurationError: A key is unknown or its value is wrong.
            RuntimeError: The application was initialised before.
        """
        if EXTENSION_NAME in app.extensions:
            raise RuntimeError(
                "ForgeJobs.init_app was called twice for one application"
            )
        settings = Settings.from_mapping(app.config)
        database = _choose_database(app, settings, self._paths)
        state = ApplicationState(
            settings=settings,
            database=database,
            storage=open_storage(
                database.settings, clock=self._clock, migrate=settings.migrate
            ),
            registry=self.registry,
            router=self._router,
            clock=self._clock,
            task_scope=app.app_context,
        )
        app.register_blueprint(
            create_blueprint(state.storage, options=self._options(settings)),
            url_prefix=settings.url_prefix,
        )
        if settings.enable_demo and self.registry.get(noop_echo.KIND) is None:
            self.registry.add(noop_echo.NoopEcho())
        # Last, so that an application whose setup failed may be set up again.
        app.extensions[EXTENSION_NAME] = state
        app.cli.add_command(forge_jobs_group)
        app.shell_context_processor(lambda: {"forge": self})

    def _options(self, settings: Settings) -> BlueprintOptions:
        return BlueprintOptions(
            max_body_bytes=settings.max_body_bytes,
            bulk_max=settings.bulk_max,
            strict_queues=settings.strict_queues,
            enable_demo=settings.enable_demo,
            redact_keys=settings.redact_keys,
            redact=settings.redact,
            metrics_auth=settings.metrics_auth,
            read_only=settings.read_only,
            allowed_hosts=settings.allowed_hosts,
            cors_origins=settings.cors_origins,
            rate_limits=settings.rate_limits,
            router=self._router,
            authenticator=None if settings.auth == "bearer" else settings.auth,
            tokens=self._tokens(settings),
            open_to_loopback=self._open_to_loopback,
            clock=self._clock,
        )

    def _tokens(self, settings: Settings) -> TokenSet | None:
        if not settings.tokens and settings.auth != "bearer":
            return None
        if not settings.tokens:
            raise ConfigurationError(
                "FORGE_JOBS_TOKENS",
                "must hold a token when FORGE_JOBS_AUTH is 'bearer'; make one with "
                "`flask forge-jobs token new`",
            )
        return TokenSet.from_config(settings.tokens, self._clock)

    # -- tasks -----------------------------------------------------------------------

    @overload
    def task(
        self, function: Callable[Concatenate[TaskContext, P], R]
    ) -> Task[P, R]: ...

    @overload
    def task(self, function: Callable[P, R]) -> Task[P, R]: ...

    @overload
    def task(
        self,
        *,
        kind: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
        timeout_s: float | None = None,
    ) -> _TaskDecorator: ...

    def task(
        self,
        function: Callable[..., Any] | None = None,
        *,
        kind: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
        timeout_s: float | None = None,
    ) -> Any:
        """Register a function as a task; use it with or without parentheses.

        The function stays callable and gains ``enqueue`` and ``options``. A first
        parameter annotated :class:`TaskContext` receives the job's context and is not
        part of the payload.

        Args:
            function: The function, when used without parentheses.
            kind: Kind of its jobs; the function's name by default. Jobs that are
                already stored find their task by it, so keep it when you rename.
            queue: Queue its jobs wait in; the router decides by default.
            priority: Lower runs first.
            max_attempts: How often a job may run, 1 to 1000.
            timeout_s: Seconds one attempt may take; None means no limit.

        Raises:
            InvalidInputError: A value is outside its bounds.
            TypeError: A JSON object cannot carry the function's arguments: it takes
                positional-only or ``*args`` parameters, or is a generator; or it has no
                name and no ``kind`` is given.
        """
        options = JobOptions(
            queue=queue,
            priority=priority,
            max_attempts=max_attempts,
            timeout_s=timeout_s,
        )
        decorator = _TaskDecorator(
            self.registry,
            router=self._router,
            store=self._store,
            kind=kind,
            options=options,
        )
        return decorator if function is None else decorator(function)

    # -- enqueueing ------------------------------------------------------------------

    @property
    def storage(self) -> Storage:
        """The stores of the current application."""
        return current().storage

    def enqueue(
        self,
        kind: str,
        payload: object = None,
        *,
        queue: str | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        dedupe_key: str | None = None,
        max_attempts: int | None = None,
        timeout_s: float | None = None,
    ) -> EnqueueResult:
        """Store a job of any kind, whether its task is registered here or elsewhere.

        A kind whose function is registered here gets that task's options, and its
        payload must fit the function, as for :meth:`Task.enqueue`.

        Args:
            kind: Selects the task, 1 to 128 characters.
            payload: Any JSON value; None means an empty object.
            queue: Queue to wait in; the task's or the router's choice by default.
            priority: Lower runs first; 0 by default.
            run_at: Not before this instant; must carry a zone.
            dedupe_key: While an unfinished job holds the key, that job is returned.
            max_attempts: How often the job may run, 1 to 1000; 5 by default.
            timeout_s: Seconds one attempt may take.

        Raises:
            InvalidInputError: A value is outside its bounds or is not JSON.
            DuplicateJobError: The key is held by a job of another kind.
            StorageError: The job was not stored.
        """
        task = self.registry.get(kind)
        defaults = task.defaults if isinstance(task, Task) else JobOptions()
        options = defaults.changed(
            queue=queue,
            priority=priority,
            run_at=run_at,
            dedupe_key=dedupe_key,
            max_attempts=max_attempts,
            timeout_s=timeout_s,
        )
        value = {} if payload is None else payload
        if isinstance(task, Task):
            return self._store(task.job_for(value, options))
        return self._store(options.new_job(kind, dump(value), self._router))

    def enqueue_many(self, jobs: Iterable[NewJob]) -> list[EnqueueResult]:
        """Store up to 10,000 jobs, all or none.

        Args:
            jobs: Such as ``send_welcome.job(user_id=n) for n in user_ids``.

        Returns:
            What became of each, in order; a job whose key is held, or comes earlier in
            ``jobs``, collapses onto the holder.

        Raises:
            InvalidInputError: There are more than 10,000.
            DuplicateJobError: A key is held by a job of another kind.
            StorageError: No job was stored.
        """
        return current().storage.jobs.enqueue_many(list(jobs))

    @staticmethod
    def _store(job: NewJob) -> EnqueueResult:
        return current().storage.jobs.enqueue(job)


class _TaskDecorator:
    """What ``@forge.task(...)`` returns."""

    def __init__(
        self,
        registry: TaskRegistry,
        *,
        router: Router,
        store: Callable[[NewJob], EnqueueResult],
        kind: str | None,
        options: JobOptions,
    ) -> None:
        self._registry = registry
        self._router = router
        self._store = store
        self._kind = kind
        self._options = options

    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], R]
    ) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Any:
        task: Task[..., Any] = Task(
            function,
            kind=self._kind,
            options=self._options,
            router=self._router,
            store=self._store,
        )
        self._registry.add(task)
        return task


def _choose_database(
    app: Flask, settings: Settings, paths: QueuePaths | None
) -> DatabaseConfig:
    """Choose by key, by file, or the SQLite file in the instance folder."""
    instance = Path(app.instance_path)
    try:
        return DatabaseConfig.resolve(settings, paths or FixedPaths(instance, instance))
    except InvalidInputError as error:
        raise ConfigurationError(
            "FORGE_JOBS_DATABASE_FILE", f"{error.field}: {error.message}"
        ) from error
