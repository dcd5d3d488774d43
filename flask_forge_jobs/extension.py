"""ForgeJobs, the Flask extension: wires storage, tasks, API and command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Unpack

from flask import Flask, current_app, url_for
from werkzeug.serving import is_running_from_reloader

from flask_forge_jobs.alembic import protect_tables
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.v1.jobs import STATUS_ENDPOINT
from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.blueprint import BLUEPRINT_NAME, create_blueprint
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.database import ChosenDatabase
from flask_forge_jobs.config.paths import FixedPaths, QueuePaths
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.config.variables import warn_of_ignored_variables
from flask_forge_jobs.embedded import embed_worker
from flask_forge_jobs.model.bulk import CancelOutcome
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.masking import Masking
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.runtime.children import CHILD_VARIABLE
from flask_forge_jobs.runtime.foreground import PARENT_PIPE_VARIABLE
from flask_forge_jobs.runtime.hints import Hints
from flask_forge_jobs.runtime.run.isolation import CHANNEL_VARIABLE
from flask_forge_jobs.sharing import FlaskSQLAlchemy, share
from flask_forge_jobs.signals import SignalObserver
from flask_forge_jobs.state import (
    EXTENSION_NAME,
    ApplicationState,
    current,
    direct_calls,
    inline_rule,
)
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.tasks.batches import Batching
from flask_forge_jobs.tasks.bundled import noop_echo
from flask_forge_jobs.tasks.declarations import Declarations
from flask_forge_jobs.tasks.decorator import Task, TaskHome
from flask_forge_jobs.tasks.handles import JobHandle
from flask_forge_jobs.tasks.misfits import check_jobs, kind_error, options_error
from flask_forge_jobs.tasks.options import EnqueueOptions, JobOptions
from flask_forge_jobs.tasks.other_words import OF_FORGE, teach
from flask_forge_jobs.tasks.registry import TaskRegistry, TaskRouter
from flask_forge_jobs.tasks.routing import DefaultRouter, Router

# Variables that only a child process of a worker or of the demo server has.
_OF_CHILDREN = frozenset({CHILD_VARIABLE, CHANNEL_VARIABLE, PARENT_PIPE_VARIABLE})


class ForgeJobs(Declarations, Batching):
    """Background jobs for a Flask application.

    A complete program::

        from flask import Flask
        from flask_forge_jobs import ForgeJobs

        app = Flask(__name__)
        forge = ForgeJobs(app)

        @forge.task
        def send_welcome(user_id: int) -> None: ...

        @app.post("/signup")
        def signup():
            return {"job": send_welcome.enqueue(user_id=7).id}

    Outside a view, a command or a task, enqueue within ``with app.app_context():``.

    In an application factory, write ``forge = ForgeJobs()`` and
    ``forge.init_app(app)``. Applications that use one instance share its tasks and
    nothing else.

    Args:
        app: The application; None to call :meth:`init_app` later.
        router: Names the queue of a job when neither the caller nor the task does;
            ``default`` by default.
        clock: Source of time; the system clock by default.
        paths: Directories of ``queue_database.toml`` and of the SQLite file; by default
            the application's instance folder for both.
        database: The database; by default the application's settings and
            ``queue_database.toml`` choose it.
        db: The ``SQLAlchemy`` object of Flask-SQLAlchemy, initialised or not, if the
            jobs are to live in its default database; see :doc:`/howto/transactions`.
        open_to_loopback: Let clients on this machine in without authentication, also
            outside debug mode. Only for a server that listens on loopback and has no
            proxy in front: a proxy on the same machine looks like a local client.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        router: Router | None = None,
        clock: Clock | None = None,
        paths: QueuePaths | None = None,
        database: ChosenDatabase | None = None,
        db: FlaskSQLAlchemy | None = None,
        open_to_loopback: bool = False,
    ) -> None:
        registry = TaskRegistry()
        router = DefaultRouter() if router is None else router
        self._router = TaskRouter(registry, router)
        self._clock = clock or SystemClock()
        context = direct_calls(self._clock, self._router).context
        super().__init__(registry, TaskHome(router, _store, _store_many, context))
        self._paths = paths
        self._database = database
        self._db = db
        self._open_to_loopback = open_to_loopback
        self._batch_home = current
        protect_tables()  # an env.py of Alembic may load no more than this
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, *, db: FlaskSQLAlchemy | None = None) -> None:
        """Add jobs to an application.

        Reads the ``FORGE_JOBS_`` settings and registers the blueprint ``forge_jobs``
        and the commands ``flask forge-jobs``. Opens no database, so a server may fork
        afterwards. With ``TESTING``, jobs are kept in memory unless a setting or a file
        names a database.

        Args:
            app: The application.
            db: As for the class, which supplies the default.

        Raises:
            ConfigurationError: A setting is unknown or its value is wrong, the jobs
                cannot use the database of ``db``, or a setting names another one.
            RuntimeError: The application has been initialised already.
            TypeError: ``db`` is not of Flask-SQLAlchemy, or came with ``database``.
        """
        if EXTENSION_NAME in app.extensions:
            raise RuntimeError(
                "ForgeJobs.init_app was called twice for one application"
            )
        _warn_of_variables(app.config)
        state = self._state(
            app, Settings.from_mapping(app.config), self._db if db is None else db
        )
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
        # Last, so that a failed setup can be tried again.
        app.extensions[EXTENSION_NAME] = state
        app.cli.add_command(forge_jobs_group)
        app.shell_context_processor(lambda: {"forge": self})

    def _state(
        self, app: Flask, settings: Settings, db: FlaskSQLAlchemy | None
    ) -> ApplicationState:
        if self._database is not None and db is not None:
            raise TypeError("database= and db= both name the database; leave one out")
        database = share(
            app,
            settings,
            db,
            lambda: self._database or _choose_database(app, settings, self._paths),
        )
        storage = open_storage(
            database.settings,
            clock=self._clock,
            migrate=settings.migrate,
            in_memory=lambda: app.testing and database.settings.is_unnamed,
            masking=Masking(settings.masked_keys),
        )
        # Every enqueue reads it, and app.testing costs two calls.
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
            status_url=_status_url_of(settings, self._clock),
            is_inline=inline_rule(settings, is_testing),
            hints=Hints(
                storage,
                database.settings,
                self.registry.kinds,
                are_enabled=lambda: app.config["DEBUG"] or app.config["TESTING"],
                is_testing=is_testing,
            ),
        )

    @property
    def storage(self) -> Storage:
        """The job storage of the current application."""
        return current().storage

    def enqueue(
        self,
        kind: str,
        payload: object = None,
        **options: Unpack[EnqueueOptions],
    ) -> JobHandle:
        """Store a job by the name of its task, which may live in another program.

        For example::

            forge.enqueue("send_welcome", {"user_id": 7}, queue="mail")

        If this program knows the task, the job takes the task's options and the payload
        must fit its function, as with :meth:`Task.enqueue`. With ``TESTING``, the job
        runs at once and its exception is raised here; see :doc:`/howto/test`.

        Args:
            kind: Selects the task, 1 to 128 characters.
            payload: Any JSON value; None means an empty object.
            options: Those of :class:`EnqueueOptions`.

        Raises:
            InvalidInputError: A value is out of bounds or not JSON, or the
                ``connection`` cannot be used: wrong driver or database, closed, or in
                autocommit mode outside a transaction.
            DuplicateJobError: A job of another kind holds the dedupe key.
            QueueFullError: The queue has reached its limit of waiting jobs.
            StorageOutcomeUnknownError: The job may be stored; the error has its id.
            StorageError: The job was not stored, for instance because the
                transaction of the ``connection`` has failed.
            TypeError: There is no such option.
        """
        if not isinstance(kind, str):
            raise kind_error(kind)
        task = self.registry.get(kind)
        defaults = task.defaults if isinstance(task, Task) else JobOptions()
        connection = options.pop("connection", None)
        try:
            chosen = defaults.changed(**options)
        except TypeError:
            raise options_error(task, kind, options) from None
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

        For example::

            forge.enqueue_many(send_welcome.job(user_id=n) for n in user_ids)

        Args:
            jobs: The jobs. The router names the queue of a job that names none.
            connection: Store them in this connection's transaction; see
                :meth:`enqueue`.

        Returns:
            A handle on each job, in order. Where an unfinished job, or an earlier one
            of ``jobs``, holds the dedupe key, the handle is on that job.

        Raises:
            InvalidInputError: There are more than 10,000, or the ``connection`` cannot
                be used.
            DuplicateJobError: A job of another kind holds a dedupe key.
            QueueFullError: A queue has no room for its jobs.
            StorageOutcomeUnknownError: All may be stored; the error has their ids.
            StorageError: No job was stored.
        """
        return _store_many(check_jobs(jobs), connection=connection)

    @staticmethod
    def job(job_id: str) -> JobHandle:
        """Return a handle on a job of the current application, without reading it.

        If there is no such job, ``forge.job(id).exists`` is False and every other
        property raises :class:`.JobNotFoundError`.
        """
        if callable(job_id):
            raise TypeError(
                "a job's id is text; to make a function a task, write @forge.task"
            )
        return JobHandle(current(), job_id)

    def cancel(self, job_id: str, reason: str | None = None) -> CancelOutcome:
        """Cancel a waiting job, or ask a running one to stop.

        Args:
            job_id: The job.
            reason: Becomes part of the last error, up to 1,000 characters.

        Returns:
            ``cancelled``, or ``cancel_requested`` for a running job.

        Raises:
            InvalidInputError: The reason is too long.
            JobNotFoundError: No job has this id.
            JobStateError: The job has ended.
        """
        return self.job(job_id).cancel(reason)


def _warn_of_variables(config: Mapping[str, object]) -> None:
    # A process whose parent has loaded the same application repeats nothing.
    if not (is_running_from_reloader() or _OF_CHILDREN & os.environ.keys()):
        warn_of_ignored_variables(config, os.environ)


def _store(job: NewJob, *, connection: object | None = None) -> JobHandle:
    state = current()
    result = state.enqueue(job, connection=connection)
    return JobHandle(state, result.id, result)


def _store_many(
    jobs: Sequence[NewJob], *, connection: object | None = None
) -> list[JobHandle]:
    state = current()
    results = state.enqueue_many(jobs, connection=connection)
    return [JobHandle(state, result.id, result) for result in results]


teach(ForgeJobs, OF_FORGE)


def _status_url(links: StatusLinks, job_id: str, expires_in_s: float) -> str:
    token = links.token(current_app, job_id, expires_in_s)
    return url_for(f"{BLUEPRINT_NAME}.{STATUS_ENDPOINT}", token=token)


def _status_url_of(settings: Settings, clock: Clock) -> Callable[[str, float], str]:
    return partial(_status_url, StatusLinks(Signer(settings.link_secrets), clock))


def _choose_database(
    app: Flask, settings: Settings, paths: QueuePaths | None
) -> ChosenDatabase:
    """Choose by setting, by file, or the SQLite file in the instance folder."""
    instance = Path(app.instance_path)
    return ChosenDatabase.resolve(settings, paths or FixedPaths(instance, instance))
