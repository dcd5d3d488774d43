"""The embedded worker runs jobs inside the web process.

``auto`` starts one only under Werkzeug's development server (``flask run`` and
``app.run()``). ``on`` also starts one in each gunicorn worker and, under any other
server, with the first request. It waits until the server serves, because an application
registers its tasks while it loads; so it never starts in the reloader's parent, before
a ``--preload`` fork, in a command, a script or a test.

It stops with the server, which leaves it little time: running jobs get at most ten
seconds. Werkzeug's reloader kills its child 0.25 s after Ctrl-C, so there running jobs
go back to their queues at once.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click
from flask import Flask, request
from flask.cli import ScriptInfo, run_command
from werkzeug.serving import is_running_from_reloader

from flask_forge_jobs.errors import ConfigurationError, ForgeJobsError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.bounds import DEFAULT_QUEUE
from flask_forge_jobs.server_detection import (
    green_threads,
    is_gunicorn_fork,
    is_gunicorn_worker,
    is_served,
)
from flask_forge_jobs.sharing import warn_of_old_alembic
from flask_forge_jobs.state import ApplicationState
from flask_forge_jobs.tasks.routing import queues_from_env

if TYPE_CHECKING:
    from flask_forge_jobs.runtime.runtime import QueueRuntime
    from flask_forge_jobs.runtime.worker import RuntimeHandle

logger = get_logger(__name__)

SETTING = "FORGE_JOBS_EMBEDDED_WORKER"
THREADS = 4  # fewer than a worker process has: they share it with requests
# gunicorn kills a worker that takes longer than 30 s to stop, requests included.
MAX_GRACE_S = 10.0
HURRIED_CALL_S = 0.1  # of the 0.25 s that Werkzeug's reloader leaves its child
LONGEST_LOOK_S = 0.25
_WATCH_PERIOD_S = 1.0
_RETRY_S = 5.0
_SERVER_FORMAT = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
_RELOAD = 3  # exit status on which the reloader starts its child again


class EmbeddedWorker:
    """Runs the jobs of one application in the process that serves it."""

    def __init__(self, app: Flask, state: ApplicationState) -> None:
        self._app = app
        self._state = state
        self._grace_s = min(state.settings.shutdown_grace_s, MAX_GRACE_S)
        self._task_command: list[str] = []
        self._is_development = False
        self._pid = 0
        self._lock = threading.Lock()
        self._handle: RuntimeHandle | None = None
        self._over = threading.Event()

    def arm(self, *, is_served: bool = False) -> None:
        """Start in this process once it serves; a second call does nothing."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._lock = threading.Lock()  # the parent may have held the inherited one
        self._handle, self._over = None, threading.Event()
        # Not a daemon: when the process exits, it gives running jobs back.
        thread = threading.Thread(
            target=self._run,
            args=(self._over,),
            kwargs={"is_served": is_served},
            name="forge-jobs-embedded",
        )
        thread.start()
        self._stop_before_executors()
        if self._state.hints is not None:
            self._state.hints.served_here = lambda: (
                self._queue_names() if thread.is_alive() else ()
            )

    @contextlib.contextmanager
    def while_served(self, info: ScriptInfo | None = None) -> Iterator[None]:
        """Run under a development server until the block ends."""
        if info is not None and info.create_app is None:
            place = ["--app", info.app_import_path] if info.app_import_path else []
            command = [sys.executable, "-m", "flask", *place, "forge-jobs", "worker"]
            self._task_command = command
        self._is_development = True
        with _ending_on_sigterm():
            self.arm()
            try:
                yield
            finally:
                self._stop_with_server()

    def start_after_fork(self) -> None:
        """Start in a worker process that gunicorn has just forked."""
        if is_gunicorn_fork():
            self.arm()

    def start_with_request(self) -> None:
        """Start with the first request, unless it comes from a test client."""
        if self._pid != os.getpid() and "SERVER_SOFTWARE" in request.environ:
            self.arm(is_served=True)

    # -- its thread ------------------------------------------------------------------

    def _run(self, over: threading.Event, *, is_served: bool) -> None:
        if not (is_served or self._is_served_at_last(over)) or self._app.testing:
            return
        if library := green_threads():
            logger.error("no embedded worker: %s", _refusal(library))
            return
        while (handle := self._start(over)) is not None:
            reason = self._watch(handle, over)
            if reason is not None:
                logger.error("the embedded worker stops: %s", reason)
            is_stopped_elsewhere = over.is_set()
            while is_stopped_elsewhere and self._handle is handle:
                if _main_thread_ends_within(_WATCH_PERIOD_S):
                    break  # interrupted once too often
            at_once = handle.is_stuck or is_stopped_elsewhere
            handle.shutdown_graceful(0.0 if at_once else self._grace_s)
            if reason is None or handle.is_outdated:
                return

    def _is_served_at_last(self, over: threading.Event) -> bool:
        look_s = 0.01
        while not over.is_set():
            if is_served(self._app):
                return True
            if _main_thread_ends_within(look_s):
                return False
            look_s = min(2 * look_s, LONGEST_LOOK_S)
        return False

    def _start(self, over: threading.Event) -> RuntimeHandle | None:
        """Start once the database answers; return None if the process ends first."""
        has_warned = False
        while not over.is_set():
            try:
                # Before the first job, whose output would run into the greeting.
                self._state.storage.open()
                self._greet()
                warn_of_old_alembic(self._app, self._state.database.settings)
                with self._lock:
                    if over.is_set():
                        return None
                    self._handle = self._runtime().start()
            except StorageError as error:
                if not has_warned:
                    logger.warning("the embedded worker waits: %s", error)
                has_warned = True
            except ForgeJobsError as error:
                logger.error("no embedded worker: %s", error)  # noqa: TRY400
                return None
            else:
                return self._handle
            if _main_thread_ends_within(_RETRY_S):
                break
        return None

    def _runtime(self) -> QueueRuntime:
        runtime = self._state.runtime(THREADS).with_queues(self._queue_names())
        runtime.with_worker_name("embedded")
        return runtime.with_task_command(self._task_command)

    def _queue_names(self) -> list[str]:
        """Return ``FORGE_QUEUES``, or ``default`` and the queues of the tasks."""
        state = self._state
        own = {state.router(kind) for kind in state.registry.kinds()} - {DEFAULT_QUEUE}
        return queues_from_env() or [DEFAULT_QUEUE, *sorted(own)]

    def _greet(self) -> None:
        queues = ", ".join(self._queue_names())
        place = self._state.database.settings.dsn_for_display
        if self._is_development:
            click.echo(
                f" * Jobs run in this process: queues {queues} in {place} "
                "(in production, run `flask forge-jobs worker`)"
            )
            _show_jobs(" * %(message)s")
        else:
            _show_as_the_server_does()
            logger.info("jobs run in this process: queues %s in %s", queues, place)

    @staticmethod
    def _watch(handle: RuntimeHandle, over: threading.Event) -> str | None:
        """Wait until the process ends; return the reason to stop before that."""
        from flask_forge_jobs.runtime.foreground import reason_to_stop

        while not (over.is_set() or _main_thread_ends_within(_WATCH_PERIOD_S)):
            if not over.is_set() and (reason := reason_to_stop(handle)):
                return reason
        return None

    # -- the server's thread ---------------------------------------------------------

    def _stop_with_server(self) -> None:
        if self._pid != os.getpid():  # a child that was forked meanwhile
            return
        self._over.set()
        with self._lock:
            handle = self._handle
        if handle is not None:
            self._stop(handle)
        self._handle, self._pid = None, 0  # another server may begin

    def _stop(self, handle: RuntimeHandle) -> None:
        error = sys.exception()
        reloads = isinstance(error, SystemExit) and error.code == _RELOAD
        if is_running_from_reloader() and not reloads:
            handle.hurry()  # our thread may have begun to stop it
            handle.shutdown_graceful(0.0, last_call_s=HURRIED_CALL_S)
            return
        if running := len(handle.running()):
            click.echo(
                f" * Waiting up to {self._grace_s:g} s for {running} running jobs; "
                "press Ctrl-C again to return them to the queue now"
            )
        self._stop_within_grace(handle)

    def _stop_within_grace(self, handle: RuntimeHandle) -> None:
        try:
            handle.shutdown_graceful(self._grace_s)
        except (KeyboardInterrupt, SystemExit):  # a second signal
            handle.hurry()
            handle.shutdown_graceful(0.0)

    def _stop_before_executors(self) -> None:
        """Stop at the end of the interpreter, before its executors refuse work.

        A running task may need one in its grace: ``asyncio`` looks names up in one. The
        interpreter ends them before it joins threads, ours too. There is no public hook
        that comes first; without this one, the thread notices the end by itself.

        A signal that raises before or within this hook also skips the joins of threads.
        So ``atexit``, which comes after them, gives back the jobs that still run.
        """
        import concurrent.futures.thread  # noqa: F401  # its hook must be older

        stop = functools.partial(_stop_at_exit, weakref.ref(self))
        atexit.register(stop, at_once=True)
        register = getattr(threading, "_register_atexit", None)
        if register is not None:
            with contextlib.suppress(RuntimeError):  # the process is ending already
                register(stop)

    def stop_at_exit(self, *, at_once: bool) -> None:
        """Stop unless the server has done so; an exception would skip other hooks."""
        # A child that was forked has hooks of its own, if it runs jobs.
        if self._pid != os.getpid() or (self._over.is_set() and not at_once):
            return
        self._over.set()
        try:
            with self._lock:
                handle = self._handle
            if handle is not None:
                if at_once:
                    handle.hurry()
                self._stop_within_grace(handle)
        except Exception:
            logger.exception("the embedded worker did not stop")


def _stop_at_exit(armed: weakref.ref[EmbeddedWorker], *, at_once: bool = False) -> None:
    worker = armed()
    if worker is not None:
        worker.stop_at_exit(at_once=at_once)


_workers: weakref.WeakSet[EmbeddedWorker] = weakref.WeakSet()


def _start_after_fork() -> None:
    for worker in list(_workers):
        worker.start_after_fork()


# A fork hook cannot be unregistered, so there is one for all workers.
os.register_at_fork(after_in_child=_start_after_fork)


def embed_worker(app: Flask, state: ApplicationState) -> None:
    """Prepare the embedded worker if ``FORGE_JOBS_EMBEDDED_WORKER`` allows it.

    Raises:
        ConfigurationError: ``on`` where a library replaces threads by green threads.
    """
    mode = state.settings.embedded_worker
    if mode == "off":
        return
    library = green_threads()
    if mode == "on" and library:
        raise ConfigurationError(SETTING, _refusal(library))
    worker = EmbeddedWorker(app, state)
    context = click.get_current_context(silent=True)
    if context is not None and context.command is run_command:
        context.with_resource(worker.while_served(context.find_object(ScriptInfo)))
        return
    # Flask has no hook for app.run(). As with app.wsgi_app, only this object changes.
    app.run = _with_worker(worker, app.run)  # type: ignore[method-assign]
    if mode == "on":
        _workers.add(worker)
        app.before_request(worker.start_with_request)
        if is_gunicorn_worker():
            worker.arm()


def _with_worker(
    worker: EmbeddedWorker, run: Callable[..., None]
) -> Callable[..., None]:
    @functools.wraps(run)
    def run_with_worker(*args: object, **options: object) -> None:
        if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
            run(*args, **options)  # Flask ignores the call with a warning
            return
        with worker.while_served():
            run(*args, **options)

    return run_with_worker


def _refusal(library: str) -> str:
    return (
        f"'on' does not work with {library}, which replaces threads; set 'off' and run "
        "`flask forge-jobs worker` beside the server"
    )


def _show_jobs(line_format: str) -> None:
    """Log a line per job on standard error."""
    from flask_forge_jobs.runtime.run import job_log

    handler = job_log.LineHandler(job_log.LineFormatter(line_format))
    _show(job_log.JOB_LOGGER, [handler])


def _show_as_the_server_does() -> None:
    """Log the start, and a line per job, where gunicorn logs its own lines.

    Other servers have no such place, so there it is standard error.
    """
    from flask_forge_jobs.runtime.run import job_log

    server = logging.getLogger("gunicorn.error")
    handlers = server.handlers
    if not handlers:
        handlers = [job_log.LineHandler(job_log.LineFormatter(_SERVER_FORMAT))]
    for name in (__name__, job_log.JOB_LOGGER):
        _show(name, handlers, max(logging.INFO, server.level))


def _show(
    name: str, handlers: Sequence[logging.Handler], level: int = logging.INFO
) -> None:
    """Give a logger handlers, unless the application has set up logging."""
    shown = logging.getLogger(name)
    if shown.level == logging.NOTSET and not shown.hasHandlers():
        for handler in handlers:
            shown.addHandler(handler)
        shown.setLevel(level)


def _main_thread_ends_within(seconds: float) -> bool:
    thread = threading.main_thread()
    thread.join(seconds)
    return not thread.is_alive()


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Leave the block on SIGTERM, as Werkzeug's reloader does."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
