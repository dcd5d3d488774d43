"""forge-jobs-server: the API on its own, under gunicorn, on loopback by default.

Environment variables configure it; see :mod:`flask_forge_jobs.config.environment`.
Without configured tokens it creates one for this start and prints it. A local address
is no proof of a local client, since a proxy on this machine has one too; ``--open``
accepts that risk. ``--demo`` is open on its own data: a shop with a week behind it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from flask import Flask, Request
from werkzeug.routing import MapAdapter

from flask_forge_jobs.api.request import DISCARDED_BODIES
from flask_forge_jobs.auth.sessions import NoFlaskSessions
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.blueprint import INDEX_ENDPOINT
from flask_forge_jobs.cli.errors import fails_clearly
from flask_forge_jobs.cli.group import ProgramCommand
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import (
    DEFAULT_SQLITE_NAME,
    ChosenDatabase,
    DatabaseSettings,
    Tuning,
)
from flask_forge_jobs.config.environment import WORKER_RANGE, ServerEnvironment
from flask_forge_jobs.config.settings import PREFIX, options
from flask_forge_jobs.dashboard.warm_up import begin_to_warm_up, warm_up
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.extension import ForgeJobs
from flask_forge_jobs.runtime.run.job_log import LineFormatter, LineHandler
from flask_forge_jobs.server_demo import DEMO_MODULE, DemoCompanion
from flask_forge_jobs.state import state_of

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

logger = logging.getLogger(__name__)

DEMO_OPTION = "--demo"
OPEN_OPTION = "--open"
START_ID = "start"  # id of the token made at the start, shown in the audit trail
WORKER_CLASS = "flask_forge_jobs.server_worker.GatheringWorker"
CONNECTIONS = 512  # per process; below the usual limit of 1,024 open files
# Options that older releases of gunicorn do not have.
NEWER_OPTIONS: Mapping[str, object] = {
    # No socket in the home directory through which a server can be stopped.
    "control_socket_disable": True,
    # No header may replace the path of a request after a proxy has checked it.
    "forwarder_headers": "",
}
_MAX_HOSTS = 64
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Application(Flask):
    """The server's application, none of whose functions is a coroutine."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._by_host: dict[tuple[str, str, str], tuple[str, Mapping[str, Any]]] = {}

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what finds the route of a request, its host checked once for all."""
        environ = {} if request is None else request.environ
        if request is None or "HTTP_HOST" not in environ or "HTTP_UPGRADE" in environ:
            return super().create_url_adapter(request)
        place = environ["HTTP_HOST"], environ["wsgi.url_scheme"], request.root_path
        known = self._by_host.get(place)
        if known is None:
            made = super().create_url_adapter(request)
            if made is not None and len(self._by_host) < _MAX_HOSTS:
                self._by_host[place] = request.host, dict(vars(made))
            return made
        adapter = MapAdapter.__new__(MapAdapter)
        request.host, facts = known
        path, query = _decoded(environ, "PATH_INFO"), _decoded(environ, "QUERY_STRING")
        vars(adapter).update(facts, path_info=path, query_args=query)
        adapter.default_method = environ["REQUEST_METHOD"]
        return adapter

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function; Flask asks for each call what it is."""
        return func


def _decoded(environ: Mapping[str, Any], name: str) -> str:
    text: str = environ.get(name, "")
    return text.encode("latin-1").decode("utf-8", "replace")


def create_app(
    environ: Mapping[str, str] | None = None,
    *,
    demo: Path | None = None,
    is_open: bool = False,
    tokens: Sequence[Mapping[str, object]] = (),
) -> Flask:
    """Return the server's application, without opening its database.

    Args:
        environ: The environment; that of the process by default.
        demo: File of the demo's data, served with ``POST /jobs/enqueue-demo``. None
            serves the database of the environment.
        is_open: Answer without a token, if the server listens on loopback only.
        tokens: Entries like those of ``FORGE_JOBS_TOKENS``, used if that is not set.

    Raises:
        ConfigurationError: A variable or ``queue_database.toml`` is invalid.
    """
    environment = ServerEnvironment.from_environ(
        os.environ if environ is None else environ
    )
    chosen = environment.database() if demo is None else _demo_data(demo, environment)
    app = _Application("flask_forge_jobs.server", static_folder=None)
    settings = environment.settings
    if settings.embedded_worker == "on":
        raise ConfigurationError(
            f"{PREFIX}EMBEDDED_WORKER", "is for applications: the server has no tasks"
        )
    for option in options():
        name = option.key.removeprefix(PREFIX).lower()
        app.config[option.key] = getattr(settings, name)
    app.config[f"{PREFIX}TOKENS"] = settings.tokens or tuple(tokens)
    # Signs the sessions of browsers, which end with the server without the setting.
    app.secret_key = secrets.token_urlsafe()
    app.session_interface = NoFlaskSessions()
    app.config[f"{PREFIX}ENABLE_DEMO"] = settings.enable_demo or demo is not None
    ForgeJobs(
        app, database=chosen, open_to_loopback=is_open and environment.is_loopback
    )
    if not settings.url_prefix:
        app.add_url_rule(
            "/", INDEX_ENDPOINT, methods=["GET"], provide_automatic_options=False
        )
    return app


def _demo_data(path: Path, environment: ServerEnvironment) -> ChosenDatabase:
    tuning = Tuning.from_settings(environment.settings)
    return ChosenDatabase(
        DatabaseSettings.from_location(
            {"backend": "sqlite", "path": path}, tuning, DEMO_OPTION
        )
    )


@click.command(cls=ProgramCommand)
@click.option(
    DEMO_OPTION,
    is_flag=True,
    help="Like --open, on a temporary SQLite file: a shop with a week of figures, and "
    "a worker that runs its jobs.",
)
@click.option(
    "--demo-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Like --demo, on this SQLite file, which is kept.",
)
@click.option(
    OPEN_OPTION,
    "is_open",
    is_flag=True,
    help="Require no token: anyone who can reach the port is admin.",
)
@click.option(
    "--workers",
    type=click.IntRange(*WORKER_RANGE),
    help="Server processes. Default: WEB_CONCURRENCY or 2.",
)
@click.option(
    "--threads",
    type=click.IntRange(*WORKER_RANGE),
    help="Threads per process. Default: JOBS_API_THREADS or 4.",
)
@fails_clearly
def main(
    *,
    demo: bool,
    demo_file: Path | None,
    is_open: bool,
    workers: int | None,
    threads: int | None,
) -> None:
    """Serve the jobs API.

    Settings come from the environment: QUEUE_BACKEND, DATABASE_URL,
    DATABASE_MAX_CONNECTIONS, JOBS_API_BIND, JOBS_API_PORT, JOBS_API_THREADS,
    JOBS_CONFIG_DIR, JOBS_DATA_DIR, WEB_CONCURRENCY, FORGE_JOBS_LOG_LEVEL, and every
    setting of an application, such as FORGE_JOBS_TOKENS. Without tokens, the server
    listens on loopback only and prints an admin token that is valid until it ends.
    """
    environment = ServerEnvironment.from_environ(os.environ)
    environment = replace(
        environment,
        workers=workers or environment.workers,
        threads=threads or environment.threads,
    )
    handler = LineHandler(LineFormatter(LOG_FORMAT))
    logging.basicConfig(level=environment.log_level, handlers=[handler])
    demo = demo or demo_file is not None
    _check_start(environment, demo=demo, is_open=is_open)
    is_open = is_open or demo
    with _data_of_demo(demo_file) if demo else contextlib.nullcontext() as data:
        welcome = _Welcome(
            is_closed=not (is_open or environment.settings.tokens),
            is_open=is_open,
            data=data,
            is_kept=demo_file is not None,
            prefix=environment.settings.url_prefix,
        )
        app = create_app(demo=data, is_open=is_open, tokens=welcome.tokens)
        _open_once(app, is_demo=demo)
        body_limit = DISCARDED_BODIES * environment.settings.max_body_bytes
        # Followed by the version, so that nothing else begins like it.
        health = f"GET {environment.settings.url_prefix}/health HTTP/".encode()
        chosen = _options(environment, demo=data, welcome=welcome)
        _serve(app, body_limit, health, chosen)


def _open_once(app: Flask, *, is_demo: bool) -> None:
    """Fail here, if the database is wrong, and not in every process."""
    storage = state_of(app).storage
    storage.open()
    if is_demo:
        # By name: the demo is in a layer above.
        demo = importlib.import_module(f"{DEMO_MODULE}.scenery")
        demo.prepare(app, SystemClock().now_us())
        warm_up(app)  # once for all processes: it is looked at at once
    storage.close()


def _check_start(environment: ServerEnvironment, *, demo: bool, is_open: bool) -> None:
    """Refuse options that contradict each other or would let strangers in."""
    settings = environment.settings
    if (demo or is_open) and settings.tokens:
        raise ConfigurationError(
            DEMO_OPTION if demo else OPEN_OPTION,
            "needs no token, so unset FORGE_JOBS_TOKENS or leave the option out",
        )
    has_database = settings.database_url or settings.database_file
    if demo and (has_database or environment.backend == "postgres"):
        raise ConfigurationError(
            DEMO_OPTION,
            "uses a temporary database; unset DATABASE_URL, FORGE_JOBS_DATABASE_FILE "
            "and QUEUE_BACKEND=postgres, or leave the option out",
        )
    if not (environment.is_loopback or settings.tokens):
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


@contextlib.contextmanager
def _data_of_demo(kept: Path | None) -> Iterator[Path]:
    """Return the file of the demo's data, in a folder that goes unless it is kept."""
    if kept is not None:
        yield kept.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="forge-jobs-demo-"))
    owner = os.getpid()
    try:
        yield folder / DEFAULT_SQLITE_NAME
    finally:
        if os.getpid() == owner:  # forked server processes pass here, too
            shutil.rmtree(folder, ignore_errors=True)


class _Welcome:
    """Makes the token of this start, and prints how to use the server.

    It exists before the server forks, so that all processes know the token, which is in
    no log, file or variable.
    """

    def __init__(
        self,
        *,
        is_closed: bool,
        is_open: bool,
        data: Path | None,
        is_kept: bool,
        prefix: str,
    ) -> None:
        self._prefix = prefix
        self._is_open = is_open
        self._data = data
        self._is_kept = is_kept
        self._token = ""
        self.tokens: list[dict[str, object]] = []
        if is_closed:
            self._token, digest = new_token(START_ID)
            self.tokens = [{"id": START_ID, "sha256": digest, "role": "admin"}]

    def say(self, server: Arbiter) -> None:
        """Print it, now that the port is known."""
        address = str(server.LISTENERS[0])
        if self._data is not None:
            where = f"the data in {self._data.parent} is deleted when the server stops"
            if self._is_kept:
                where = f"the data stays in {self._data}"
            where += f"\n\n    {address}{self._prefix}/\n"
            click.echo(f"{DEMO_OPTION}: {where}", err=True)
        if self._is_open:
            click.echo(f"OPEN: anyone who can reach {address} is admin", err=True)
        if self._token:
            click.echo(
                f"FORGE_JOBS_TOKENS is not set. Use this admin token until the server "
                f"stops:\n\n    {self._token}\n\n"
                f"    curl -H 'Authorization: Bearer {self._token}' "
                f"{address}{self._prefix}/v1/queues\n",
                err=True,
            )


def _options(
    environment: ServerEnvironment, *, demo: Path | None, welcome: _Welcome
) -> Mapping[str, object]:
    host = f"[{environment.host}]" if ":" in environment.host else environment.host
    companion = None if demo is None else DemoCompanion(demo)

    def when_ready(server: Arbiter) -> None:
        welcome.say(server)
        if companion is not None:
            companion.start()

    options: dict[str, object] = {
        "bind": f"{host}:{environment.port}",
        "workers": environment.workers,
        "worker_class": WORKER_CLASS,
        # One more, to answer /health while the others wait for the database.
        "threads": environment.threads + 1,
        "worker_connections": CONNECTIONS,
        "loglevel": environment.log_level.lower(),
        "when_ready": when_ready,
        "worker_exit": _close_listeners,
    }
    if companion is not None:
        options["post_fork"] = companion.leave_to_the_server
        options["on_exit"] = companion.stop
    return options


def _serve(
    app: Flask, body_limit: int, health: bytes, options: Mapping[str, object]
) -> None:
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
        longest_body = body_limit
        quick_requests = (health,)

        def load_config(self) -> None:
            for name, value in options.items():
                self.cfg.set(name, value)
            for name, value in NEWER_OPTIONS.items():
                if name in self.cfg.settings:
                    self.cfg.set(name, value)

        def load(self) -> Flask:
            begin_to_warm_up(app)  # in each process, after the fork
            return app  # its database is closed, so gunicorn may fork

    Server().run()


def _close_listeners(_: Arbiter, worker: Worker) -> None:
    """Close the files that a quick stop leaves open; Python would warn of them."""
    for listener in worker.sockets:
        listener.close()


if __name__ == "__main__":
    main()
