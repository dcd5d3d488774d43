"""``flask forge-jobs worker``: run jobs in the foreground.

With ``--reload`` the process replaces itself once its jobs have ended. Werkzeug's
reloader does not fit: it kills its child, and the running jobs with it, 0.25 s after
Ctrl-C.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource
from flask import current_app
from flask.helpers import get_debug_flag

from flask_forge_jobs.cli.errors import within_application
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.runtime.children import CHILD_VARIABLE, Children, own_command
from flask_forge_jobs.runtime.foreground import EXIT_CHANGED, run_in_foreground
from flask_forge_jobs.runtime.outcomes import JOB_LOGGER
from flask_forge_jobs.runtime.plan import DEFAULT_THREADS
from flask_forge_jobs.runtime.run.task_child import serve_tasks, take_channel
from flask_forge_jobs.server_detection import green_threads
from flask_forge_jobs.sharing import warn_of_old_alembic
from flask_forge_jobs.state import ApplicationState, current
from flask_forge_jobs.storage.database import logger as database_logger
from flask_forge_jobs.tasks.routing import QUEUES_VARIABLE

NAME_VARIABLE = "FORGE_WORKER_NAME"
MAX_PROCESSES = 64
MAX_THREADS = 1024
# Connections of the worker itself: heartbeat, dispatcher, listener, upkeep.
SPARE_CONNECTIONS = 5
# What the program has to do at its end: its atexit handlers, and threads before them.
EXIT_LIMIT_S = 5.0
THREADS_LIMIT_S = 1.0
# How often --reload looks, after an error, whether a source file has changed.
LOOK_PERIOD_S = 1.0
LOGGER = logging.getLogger(__name__)
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@click.command("worker")
@click.option(
    "--queues",
    default=DEFAULT_QUEUE,
    envvar=QUEUES_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="Queues to serve, separated by commas.",
)
@click.option(
    "--processes",
    default=1,
    type=click.IntRange(1, MAX_PROCESSES),
    show_default=True,
    help="Worker processes. With more than one, a parent restarts those that end.",
)
@click.option(
    "--threads",
    default=DEFAULT_THREADS,
    type=click.IntRange(1, MAX_THREADS),
    show_default=True,
    help="Most jobs at once, per process.",
)
@click.option(
    "--name",
    default=None,
    envvar=NAME_VARIABLE,
    show_envvar=True,
    help="Name of the worker in the API.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0, 3600),
    default=None,
    help="Seconds to wait for running jobs when stopping. Default: "
    "FORGE_JOBS_SHUTDOWN_GRACE_S.",
)
@click.option(
    "--burst",
    is_flag=True,
    help="Exit once no job is due or running here. Jobs scheduled for later or in a "
    "paused queue stay. One process only.",
)
@click.option(
    "--reload",
    "reloads",
    is_flag=True,
    help="Restart when a source file changes, for development. One process only.",
)
@click.option("--quiet", is_flag=True, help="Do not log jobs that succeed.")
@click.option("--json-logs", is_flag=True, help="Log as JSON, one object per line.")
def worker_command(*, reloads: bool, **options: Any) -> None:
    """Run jobs until SIGTERM or Ctrl-C.

    Press Ctrl-C twice to stop without waiting; running jobs go back to the queue. A
    third Ctrl-C kills the worker.
    """
    if options["processes"] > 1 and (options["burst"] or reloads):
        option = "--burst" if options["burst"] else "--reload"
        raise click.UsageError(
            f"{option} works with one process; leave out --processes"
        )
    if not reloads:
        _work(changed=lambda: None, **options)
    files = SourceFiles()
    with surviving_errors(files):
        _work(changed=files.changed, **options)


@within_application
def _work(
    *,
    queues: str,
    processes: int,
    threads: int,
    name: str | None,
    grace: float | None,
    burst: bool,
    quiet: bool,
    json_logs: bool,
    changed: Callable[[], str | None],
) -> NoReturn:
    _write_logs(quiet=quiet, as_json=json_logs)
    state = current()
    _require_threads()
    state.database.require_shared()
    channel = take_channel(os.environ)
    child = os.environ.get(CHILD_VARIABLE)
    if not (channel is None and child is None):
        database_logger.setLevel(logging.WARNING)  # the parent has logged it
    if channel is not None:
        _leave(serve_tasks(state.runtime(1), channel))
    grace_s = state.settings.shutdown_grace_s if grace is None else grace
    if child is None:
        _warn(state, threads)
    if processes > 1 and child is None:
        # Fail once, here, if a setting, database or queue is wrong, not in every child.
        _check(state, queues)
        watch = Children(
            own_command(), count=processes, grace_s=grace_s, clock=state.clock
        )
        sys.exit(watch.run(_leave))
    runtime = state.runtime(threads).with_queues(queues.split(","))
    runtime.with_worker_name(f"{name}-{child}" if name and child else name)
    runtime.with_task_command(own_command())
    changed()  # remembers the modification times of the loaded files
    status = run_in_foreground(
        runtime, grace_s=grace_s, burst=burst, changed=changed, leave=_leave
    )
    sys.exit(status)


def _leave(status: int) -> NoReturn:
    """Run the interpreter's exit handlers, for a limited time, and exit.

    Not by sys.exit(), which waits for every thread that a task has left. And when the
    interpreter takes itself apart, a thread that is still in C code can crash it.
    """
    if status == EXIT_CHANGED:
        _begin_anew()
    turn = threading.Lock()

    def clean_up() -> None:
        with turn:  # a second caller blocks until the process exits
            try:
                atexit._run_exitfuncs()  # noqa: SLF001
                _flush()
            finally:
                os._exit(status)

    try:
        _call_in(EXIT_LIMIT_S, lambda: os._exit(status))
        _call_in(THREADS_LIMIT_S, clean_up)
        # Neither has a public name; multiprocessing ends its children with both.
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    finally:
        clean_up()
        os._exit(status)


def _call_in(seconds: float, work: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # Closed before the start, or later, or nobody reads it.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()


def _warn(state: ApplicationState, threads: int) -> None:
    """Warn of settings that work now and fail later."""
    if reason := debug_reason():
        LOGGER.warning("debug mode is on: %s; turn it off in production", reason)
    database = state.database.settings
    warn_of_old_alembic(current_app, database)
    needed = threads + SPARE_CONNECTIONS
    if database.backend == "postgres" and database.pool_size < needed:
        LOGGER.warning(
            "FORGE_JOBS_POOL_SIZE is %d, too small for %d threads: tasks that use the "
            "queue will wait for a connection; set it to %d or more",
            database.pool_size,
            threads,
            needed,
        )


def debug_reason() -> str | None:
    """Return the source of the application's debug mode, None if it is off."""
    if not current_app.debug:
        return None
    context = click.get_current_context().find_root()
    if context.get_parameter_source("debug") is ParameterSource.COMMANDLINE:
        return "the option --debug"
    if not get_debug_flag():
        return "the application sets app.debug"
    # Flask has loaded these files, and written 1 for whatever stands there.
    dotenv: Any = sys.modules.get("dotenv")
    for name in (".env", ".flaskenv") if dotenv else ():
        path = dotenv.find_dotenv(name, usecwd=True)
        if path and dotenv.dotenv_values(path).get("FLASK_DEBUG"):
            return f"FLASK_DEBUG in {path}"
    return "FLASK_DEBUG in the environment"


def _require_threads() -> None:
    if library := green_threads(served=False):
        raise ConfigurationError(
            library,
            "replaces threads, so that a task that computes would stop the heartbeat; "
            "run the worker without it",
        )


def _check(state: ApplicationState, queues: str) -> None:
    runtime = state.runtime(1).with_queues(queues.split(","))
    runtime.with_task_command(own_command()).plan.check()
    state.storage.open()
    state.storage.close()


class JsonFormatter(logging.Formatter):
    """Writes each record as one JSON object, including the fields of a job."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {
            "time": from_micros(int(record.created * SECOND_US)).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(record.args, Mapping):
            entry |= record.args
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _write_logs(*, quiet: bool, as_json: bool) -> None:
    """Log to standard error, unless the application has set up logging.

    JSON replaces the application's handlers.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=as_json)
    if quiet:
        logging.getLogger(JOB_LOGGER).setLevel(logging.WARNING)


class SourceFiles:
    """The files of the loaded modules, with their modification times."""

    def __init__(self) -> None:
        self._written_ns: dict[str, int] = {}

    def changed(self) -> str | None:
        """Return a file that has changed since it was loaded, or None."""
        for module in list(sys.modules.values()):
            self.see(getattr(module, "__file__", None))
        return next(filter(self._has_changed, self._written_ns), None)

    def see(self, path: str | None) -> None:
        """Watch a file, unless it cannot be read."""
        if path is not None and path not in self._written_ns:
            with contextlib.suppress(OSError):
                self._written_ns[path] = Path(path).stat().st_mtime_ns

    def _has_changed(self, path: str) -> bool:
        try:
            return Path(path).stat().st_mtime_ns != self._written_ns[path]
        except OSError:  # an editor is replacing it
            return False


@contextlib.contextmanager
def surviving_errors(files: SourceFiles) -> Iterator[None]:
    """If the program fails to load, show the error and restart after a change."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:  # noqa: BLE001  # the program may raise anything
        if isinstance(error, click.ClickException):
            error.show()
        else:
            traceback.print_exception(error)
        if isinstance(error, SyntaxError):
            files.see(error.filename)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            files.see(frame.f_code.co_filename)
        files.changed()
        click.echo("waiting for a source file to change", err=True)
        while files.changed() is None:
            threading.Event().wait(LOOK_PERIOD_S)
        _begin_anew()


def _begin_anew() -> NoReturn:
    """Replace this process by a new one with the same command line."""
    logging.shutdown()
    _flush()
    command = own_command()
    os.execv(command[0], command)  # noqa: S606  # our own command line
