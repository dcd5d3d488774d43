"""The URLs below the mount point that have no route."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import cast

from flask import Request, Response, current_app, request
from flask.sansio.app import App
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter, RequestRedirect

from flask_forge_jobs.request_threads import this_thread

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Takes the path below the mount point.
Answer = Callable[[str, HTTPException], Response]


class Unmatched:
    """Answers 404, 405 and ``OPTIONS`` below one mount point.

    A blueprint's error handlers do not see these requests, and an error handler on the
    application would replace the application's own. So this runs before each request,
    looks at the routing result and ignores everything outside the mount point. At the
    root of an application every URL is below it; there the application's own error
    handlers come first.

    A rule of the application that takes any path, such as that of a single-page
    application or of static files without a prefix, is no route below the mount point:
    it would answer programs with a page, and preflights without our headers.

    It also marks the thread: a second hook would slow down every request.

    Args:
        app: The application.
        url_prefix: The mount point.
        answer: Takes the path below the mount point and the error, and returns the
            response.
        subdomain: That of the blueprint.
    """

    def __init__(
        self, app: App, url_prefix: str, answer: Answer, subdomain: str | None = None
    ) -> None:
        self._app = app
        self._answer = answer
        self._prefix = url_prefix.rstrip("/")
        self._subdomain = subdomain

    def __call__(self) -> Response | None:
        """Return the response, or None to go on with the request."""
        this_thread.answers_requests = True
        # Each access through Flask's proxy costs six calls.
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        error = asked.routing_exception
        if error is None:
            if not self._is_swallowed(asked):
                return None
            error = self._own_error(asked)
        elif not self._is_ours(asked, error):
            return None
        if "//" in asked.path:
            # Routing would merge the slashes, and redirect; our routes have none.
            error = NotFound()
        elif isinstance(error, RequestRedirect):
            # The application's own page with a trailing slash.
            return None
        return self._answer(asked.path.removeprefix(self._prefix), error)

    def _is_swallowed(self, asked: Request) -> bool:
        """Return whether a rule that is wider than the mount point takes the path."""
        rule = asked.url_rule
        if rule is None or rule.rule.startswith(self._prefix):
            return False
        own = self._subdomain or self._app.url_map.default_subdomain
        is_same_host = not rule.host and rule.subdomain == own
        return is_same_host and self._is_below(asked)

    def _own_error(self, asked: Request) -> HTTPException:
        """Return what routing would say without the wider rules."""
        adapter = cast("MapAdapter", current_app.create_url_adapter(asked))
        methods: set[str] = set()
        for method in _METHODS:
            with contextlib.suppress(HTTPException):
                rule, _ = adapter.match(method=method, return_rule=True)
                if rule.rule.startswith(self._prefix):
                    methods |= rule.methods or set()
        return MethodNotAllowed(sorted(methods)) if methods else NotFound()

    def _is_below(self, asked: Request) -> bool:
        return f"{asked.path}/".startswith(f"{self._prefix}/")

    def _is_ours(self, asked: Request, error: HTTPException) -> bool:
        if self._prefix:
            return self._is_below(asked)
        own = self._app.error_handler_spec[None]
        return not any(
            isinstance(error, handled)
            for code in (error.code, None)
            for handled in own.get(code, ())
        )
