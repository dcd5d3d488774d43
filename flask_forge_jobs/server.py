"""forge-jobs-server: the API alone, under gunicorn, on this machine by default.

The environment says where it listens and which database it serves; see
:mod:`flask_forge_jobs.config.environment`. Routes are at the root. With ``--demo`` it
also runs a worker and a trickle of demo jobs.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from flask import Flask

from flask_forge_jobs.cli.failing import fails_clearly
from flask_forge_jobs.config.environment import SERVED_KEYS, ServerEnvironment
from flask_forge_jobs.config.settings import PREFIX
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.extension import ForgeJobs
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.runtime.foreground import PARENT_PIPE_VARIABLE
from flask_forge_jobs.state import state_of

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

logger = logging.getLogger(__name__)

DEMO_MODULE = "flask_forge_jobs.demo"
WORKERS = 2
THREADS = 4
# A client should hear within 10 s that somebody else holds the lock of the database; a
# request may have to wait for a thread of its own process and then for the file.
BUSY_TIMEOUT_S = 4.0
# More than the companion takes for its last writes; then nobody waits any longer.
COMPANION_LIMIT_S = 20.0
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def create_app(
    environ: Mapping[str, str] | None = None, *, demo: bool = False
) -> Flask:
    """Return the server's application; nothing is opened.

    Args:
        environ: The environment; the process's own by default.
        demo: Serve ``POST /jobs/enqueue-demo`` and know its task.

    Raises:
        ConfigurationError: A variable or ``queue_database.toml`` does not pass.
    """
    environment = ServerEnvironment.from_environ(
        os.environ if environ is None else environ
    )
    chosen = environment.database()
    settings = replace(chosen.settings, busy_timeout_s=BUSY_TIMEOUT_S)
    app = Flask("flask_forge_jobs.server", static_folder=None)
    for key in SERVED_KEYS:
        name = key.removeprefix(PREFIX).lower()
        app.config[key] = getattr(environment.settings, name)
    app.config[f"{PREFIX}URL_PREFIX"] = ""
    app.config[f"{PREFIX}ENABLE_DEMO"] = demo
    ForgeJobs(
        app,
        database=replace(chosen, settings=settings),
        open_to_loopback=environment.is_loopback,
    )
    return app


@click.command()
@click.option(
    "--demo", is_flag=True, help="Also run a worker and a trickle of demo jobs."
)
@click.option(
    "--workers",
    default=WORKERS,
    type=click.IntRange(1, 64),
    show_default=True,
    help="Server processes.",
)
@fails_clearly
def main(*, demo: bool, workers: int) -> None:
    """Serve the jobs API.

    Settings come from the environment: QUEUE_BACKEND, DATABASE_URL,
    DATABASE_MAX_CONNECTIONS, JOBS_API_BIND, JOBS_API_PORT, JOBS_CONFIG_DIR,
    JOBS_DATA_DIR, FORGE_JOBS_LOG_LEVEL, FORGE_JOBS_TOKENS and other keys of an
    application. Without tokens it listens on a loopback address only.
    """
    environment = ServerEnvironment.from_environ(os.environ)
    logging.basicConfig(level=environment.log_level, format=_LOG_FORMAT)
    if not (environment.is_loopback or environment.settings.tokens):
        raise ConfigurationError(
            "JOBS_API_BIND",
            f"{environment.host!r} can be reached from other machines; set "
            "FORGE_JOBS_TOKENS, or mount the blueprint in an application that sets "
            "FORGE_JOBS_AUTH",
        )
    if importlib.util.find_spec("gunicorn") is None:
        raise ConfigurationError(
            "forge-jobs-server", "needs gunicorn; install flask-forge-jobs[server]"
        )
    app = create_app(demo=demo)
    # A wrong database fails here, with one line, and not in every server process.
    storage = state_of(app).storage
    storage.open()
    if demo:
        # There from the first request on, not only once the worker has started.
        storage.queues.ensure(DEFAULT_QUEUE)
    storage.close()
    _serve(app, environment, workers=workers, demo=demo)


def _serve(
    app: Flask, environment: ServerEnvironment, *, workers: int, demo: bool
) -> None:
    from gunicorn.app.base import BaseApplication

    host = f"[{environment.host}]" if ":" in environment.host else environment.host
    options: dict[str, Any] = {
        "bind": f"{host}:{environment.port}",
        "workers": workers,
        "worker_class": "gthread",
        "threads": THREADS,
        "loglevel": environment.log_level.lower(),
        "worker_exit": _close_listeners,
    }
    if demo:
        companion = _DemoCompanion()
        options["when_ready"] = companion.start
        options["post_fork"] = companion.leave_to_the_server
        options["on_exit"] = companion.stop

    class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
        def load_config(self) -> None:
            for name, value in options.items():
                self.cfg.set(name, value)
            # Since gunicorn 25 there is one in the home directory that stops servers.
            if "control_socket_disable" in self.cfg.settings:
                self.cfg.set("control_socket_disable", True)

        def load(self) -> Flask:
            return app  # nothing of it is open, so it may be forked

    Server().run()


def _close_listeners(server: Arbiter, worker: Worker) -> None:
    """Close what a quick stop leaves open, of which Python would warn."""
    del server
    for listener in worker.sockets:
        listener.close()


class _DemoCompanion:
    """The worker process beside a demo server; it lives and dies with it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, server: Arbiter) -> None:
        """Start it once the server listens."""
        del server
        reader, self._writer = os.pipe()
        command: Sequence[str] = (sys.executable, "-m", DEMO_MODULE)
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            command,
            env=os.environ | {PARENT_PIPE_VARIABLE: str(reader)},
            pass_fds=[reader],
            start_new_session=True,
        )
        os.close(reader)

    def leave_to_the_server(self, server: Arbiter, worker: Worker) -> None:
        """Wait for nothing in a server process: it is no child of that one."""
        del server, worker
        if self._process is not None:
            self._process.returncode = 0

    def stop(self, server: Arbiter) -> None:
        """Ask it to stop and wait for its last writes."""
        del server
        if self._process is not None:
            os.close(self._writer)  # a signal might be its second one
            try:
                self._process.wait(COMPANION_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


if __name__ == "__main__":
    main()
