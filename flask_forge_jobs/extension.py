"""ForgeJobs, the Flask extension."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Unpack

from flask import Flask, current_app

from flask_forge_jobs.alembic import protect_tables
from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.database import ChosenDatabase
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.state import EXTENSION_NAME, current, direct_calls
from flask_forge_jobs.tasks.batch_blocks import BatchBlock, Batching
from flask_forge_jobs.tasks.declarations import Declarations
from flask_forge_jobs.tasks.decorator import Task, TaskHome
from flask_forge_jobs.tasks.handles import JobHandle
from flask_forge_jobs.tasks.misfits import check_jobs, kind_error, options_error
from flask_forge_jobs.tasks.options import EnqueueOptions, JobOptions, check_id
from flask_forge_jobs.tasks.other_words import (
    OF_BLOCKS,
    OF_FORGE,
    OPTIONS_OF_FORGE,
    names_its_options,
    teach,
)
from flask_forge_jobs.tasks.registry import TaskRegistry, TaskRouter
from flask_forge_jobs.tasks.routing import DefaultRouter, Router

if TYPE_CHECKING:
    from flask_forge_jobs.config.paths import QueuePaths
    from flask_forge_jobs.model.bulk import CancelOutcome
    from flask_forge_jobs.model.jobs import NewJob
    from flask_forge_jobs.sharing import FlaskSQLAlchemy
    from flask_forge_jobs.storage.base import Storage


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
        db: The ``SQLAlchemy`` object of Flask-SQLAlchemy or Flask-SQLAlchemy-Lite,
            initialised or not, if the jobs are to live in its default database; see
            :doc:`/howto/transactions`.
        open_to_loopback: Let clients on this machine in without authentication, also
            outside debug mode. Only for a server that listens on loopback and has no
            proxy in front: a proxy on the same machine looks like a local client.
    """

    @names_its_options(OPTIONS_OF_FORGE)
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
        if not callable(router):
            raise TypeError(f"router= takes a function of a kind, not {shown(router)}")
        given: object = database
        if given is not None and not isinstance(given, ChosenDatabase):
            raise TypeError(
                f"database= takes a DatabaseConfig, not {type(given).__name__}; "
                "a URL goes into FORGE_JOBS_DATABASE_URL"
            )
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

    @names_its_options(OPTIONS_OF_FORGE)
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
            TypeError: ``app`` is no application, or ``db`` is of another extension or
                came with ``database``.
        """
        if not isinstance(app, Flask):
            raise TypeError(f"app= takes the Flask application, not {shown(app)}")
        # Imported with the first application, because a module of tasks may need none.
        from flask_forge_jobs.assembly import Assembly

        Assembly(
            registry=self.registry,
            router=self._router,
            clock=self._clock,
            paths=self._paths,
            database=self._database,
            db=self._db if db is None else db,
            open_to_loopback=self._open_to_loopback,
        ).add_to(app)
        app.shell_context_processor(lambda: {"forge": self})

    @property
    def storage(self) -> Storage:
        """The job storage of the current application."""
        return current().storage

    def enqueue(
        self, kind: str, payload: object = None, **options: Unpack[EnqueueOptions]
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
            chosen = defaults.as_called(**options)
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
        check_id("job", job_id)
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


def _store(job: NewJob, *, connection: object | None = None) -> JobHandle:
    try:  # as current() does, without its call: every enqueue runs this
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        state = app.extensions[EXTENSION_NAME]
    except (RuntimeError, KeyError):
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
teach(BatchBlock, OF_BLOCKS)
