"""A host application with the dashboard in it, as a browser meets it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.api.addresses import PLACEHOLDER
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.dashboard.page_route import PageRoute
from flask_forge_jobs.dashboard.table import page_routes
from flask_forge_jobs.handlers.attention.cache import FACTS, HAZARDS
from flask_forge_jobs.handlers.snapshots import Snapshots
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.dashboard.browser.filling import fill
from tests.support.wsgi import served

OUTSIDE, INSIDE = "/tools", "/jobs"
_SHARED = (FACTS, HAZARDS)
# Of each role, and of operators who are limited to one queue and to some.
CALLERS: Mapping[str, Mapping[str, Any]] = {
    "viewer": {"role": "viewer"},
    "operator": {"role": "operator"},
    "admin": {"role": "admin"},
    "limited": {"role": "operator", "queues": ["mail"]},
    "few": {"role": "operator", "queues": ["mail", "work"]},
}


@dataclass
class Site:
    """An application below a prefix, and everything that it was asked.

    Args:
        app: The application.
        storage: Its stores.
        headers: Those of a request of each caller.
        examples: A value for each placeholder of a page's path.
        host: The name that its browsers know it by.
        port: Where it listens.
        asked: The path of each request.
        writes: The status of the answer to each request that is no ``GET``.
    """

    app: Flask
    storage: Storage
    headers: Mapping[str, Mapping[str, str]]
    examples: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
    asked: list[str] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)

    def fill(self, *strings: str, shows_strings: bool = False) -> None:
        """Fill its empty database; these stand wherever a stranger's text may."""
        self.storage.open()
        self.use(fill(self.storage, strings, shows_strings=shows_strings))

    def use(self, examples: Mapping[str, str]) -> None:
        """Take a value for each placeholder; the token follows from the job."""
        with self.app.test_request_context():
            link = ForgeJobs.job(examples["job_id"]).status_url()
        self.examples = {**examples, "token": link.rpartition("/")[2]}

    def filled(self, path: str) -> str:
        """Return a path below the application, its placeholders filled."""
        return INSIDE + filled(path, self.examples)

    def url(self, path: str = "/") -> str:
        """Return the address of a path below the mount point."""
        return f"http://{self.host}:{self.port}{OUTSIDE}{self.filled(path)}"


def every_page() -> list[str]:
    """Return the path of every page, with its placeholders."""
    return [route.path for route in page_routes() if isinstance(route, PageRoute)]


def filled(path: str, examples: Mapping[str, str]) -> str:
    """Return a path whose placeholders are filled by their names."""
    return PLACEHOLDER.sub(lambda found: quote(examples[found["name"]]), path)


@contextlib.contextmanager
def running_site(folder: Path, **settings: Any) -> Iterator[Site]:
    """Serve an application.

    Args:
        folder: Where its database lies, unless the settings name another one.
        settings: Further settings, without ``FORGE_JOBS_``; ``clock`` is that of the
            application.
    """
    tokens, headers = [], {}
    clock = settings.pop("clock", None)
    for name, entry in CALLERS.items():
        token, digest = new_token(name)
        tokens.append({"id": name, "sha256": digest, **entry})
        headers[name] = {"Authorization": f"Bearer {token}"}
    app = Flask("host", instance_path=str(folder))
    app.secret_key = "of the tests"
    app.config["FORGE_JOBS_TOKENS"] = tokens
    app.config["FORGE_JOBS_URL_PREFIX"] = INSIDE
    # The time of streams is not the browser's, which tests move.
    settings = {"dashboard_streams": 0, **settings}
    for name, value in settings.items():
        app.config[f"FORGE_JOBS_{name.upper()}"] = value
    ForgeJobs(app, clock=clock)
    storage = state_of(app).storage
    site = Site(app, storage, headers)
    with contextlib.closing(storage):
        below = DispatcherMiddleware(Flask("outer"), {OUTSIDE: app})

        def noting(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
            site.asked.append(environ["PATH_INFO"])
            is_write = environ["REQUEST_METHOD"] != "GET"

            def answer(status: str, headers: Any, error: Any = None) -> Any:
                if is_write:
                    site.writes.append(int(status[:3]))
                return start_response(status, headers, error)

            return below(environ, answer)

        with served(noting) as site.port:
            yield site


def read_anew(patch: pytest.MonkeyPatch) -> None:
    """Let each page ask the database, as the first of many in a second does.

    All pages share the report.
    """
    get = Snapshots.get

    def got(
        kept: Snapshots, key: Hashable, read: Callable[[], Any], **more: float
    ) -> Any:
        return get(kept, key, read, **more) if key in _SHARED else read()

    patch.setattr(Snapshots, "get", got)
