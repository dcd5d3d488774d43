"""``flask forge-jobs worker``: run jobs in the foreground."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click
from click.core import ParameterSource
from flask import current_app
from flask.helpers import get_debug_flag

from flask_forge_jobs.cli.ends import leave
from flask_forge_jobs.cli.errors import within_application
from flask_forge_jobs.cli.logs import write_logs
from flask_forge_jobs.cli.numbers import Number
from flask_forge_jobs.cli.other_words import OTHER_ACTIONS
from flask_forge_jobs.cli.reloader import SourceFiles, surviving_errors
from flask_forge_jobs.config.variables import CHANNEL_VARIABLE, CHILD_VARIABLE
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.loaded import leave_out_of_collections
from flask_forge_jobs.model.bounds import DEFAULT_QUEUE
from flask_forge_jobs.runtime.children import Children, own_command
from flask_forge_jobs.runtime.foreground import run_in_foreground
from flask_forge_jobs.runtime.plan import DEFAULT_THREADS
from flask_forge_jobs.runtime.run.task_child import serve_tasks, take_channel
from flask_forge_jobs.server_detection import green_threads
from flask_forge_jobs.sharing import warn_of_old_alembic
from flask_forge_jobs.state import ApplicationState, current
from flask_forge_jobs.storage.database import logger as database_logger
from flask_forge_jobs.tasks.process_groups import ignore_stop_signals
from flask_forge_jobs.tasks.routing import QUEUES_VARIABLE

NAME_VARIABLE = "FORGE_WORKER_NAME"
MAX_PROCESSES = 64
MAX_THREADS = 1024
# Connections of the worker itself: heartbeat, dispatcher, listener, upkeep.
SPARE_CONNECTIONS = 5
LOGGER = logging.getLogger(__name__)


@click.command(
    "worker",
    context_settings={"allow_extra_args": True},
    epilog="Example: flask forge-jobs worker --queues mail,default --threads 8",
)
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
    help="Name of the worker in the API, at most 255 characters.",
)
@click.option(
    "--grace",
    type=Number(0, 3600),
    default=None,
    help="Seconds to wait for running jobs when stopping. Default: "
    "FORGE_JOBS_SHUTDOWN_GRACE_S.",
)
@click.option(
    "--burst",
    is_flag=True,
    help="Exit once no job runs here and none can start now. Jobs scheduled for "
    "later, or in a queue that is paused or cools down, stay. One process only.",
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
    if CHANNEL_VARIABLE in os.environ:  # before the application loads
        ignore_stop_signals()
    context = click.get_current_context()
    if names := context.args:
        if habit := OTHER_ACTIONS.get(names[0]):
            raise click.UsageError(
                f"Got unexpected extra argument {names[0]!r}; {habit}."
            )
        source = context.get_parameter_source("queues")
        given = options["queues"] if source is ParameterSource.COMMANDLINE else ""
        queues = ",".join(filter(None, [given.rstrip(","), *names]))
        raise click.UsageError(
            f"Got unexpected extra argument {names[0]!r}; write --queues {queues}."
        )
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
    write_logs(quiet=quiet, as_json=json_logs)
    state = current()
    _require_threads()
    state.database.require_shared()
    channel = take_channel(os.environ)
    child = os.environ.get(CHILD_VARIABLE)
    if not (channel is None and child is None):
        database_logger.setLevel(logging.WARNING)  # the parent has logged it
    if channel is not None:
        leave(serve_tasks(state.runtime(1), channel))
    grace_s = state.settings.shutdown_grace_s if grace is None else grace
    if child is None:
        _warn(state, threads)
    if processes > 1 and child is None:
        # Fail once, here, if a setting, database or queue is wrong, not in every child.
        _check(state, queues, f"{name}-{processes}" if name else name)
        _watch(state, processes, grace_s)
    runtime = state.runtime(threads).with_queues(queues.split(","))
    runtime.with_worker_name(f"{name}-{child}" if name and child else name)
    runtime.with_task_command(own_command())
    changed()  # remembers the modification times of the loaded files
    # Collecting all that the application has loaded would delay jobs by 50 ms.
    leave_out_of_collections()
    status = run_in_foreground(
        runtime, grace_s=grace_s, burst=burst, changed=changed, leave=leave
    )
    sys.exit(status)


def _watch(state: ApplicationState, processes: int, grace_s: float) -> NoReturn:
    children = Children(
        own_command(), count=processes, grace_s=grace_s, clock=state.clock
    )
    sys.exit(children.run(leave))


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


def _check(state: ApplicationState, queues: str, name: str | None) -> None:
    runtime = state.runtime(1).with_queues(queues.split(",")).with_worker_name(name)
    runtime.with_task_command(own_command()).plan.check()
    state.storage.open()
    state.storage.close()
