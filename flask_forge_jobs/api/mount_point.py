"""The answer to URLs below the mount point that have no route."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request
from flask.sansio.app import App
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from flask_forge_jobs.api.errors import allow_header, error_response
from flask_forge_jobs.api.headers import Cors, add_headers
from flask_forge_jobs.api.request import prefers_page
from flask_forge_jobs.api.response import empty_response
from flask_forge_jobs.api.routes import V1_PREFIX
from flask_forge_jobs.request_threads import this_thread

# Takes the path below the mount point.
ErrorPage = Callable[[str, HTTPException], Response]


class Unmatched:
    """Answers 404, 405 and ``OPTIONS`` below one mount point.

    A blueprint's error handlers do not see these requests, and an error handler on the
    application would replace the application's own. So this runs before each request,
    looks at the routing result and ignores everything outside the mount point. At the
    root of an application every URL is below it; there the application's own error
    handlers come first.

    It also marks the thread: a second hook would slow down every request.

    Args:
        app: The application.
        url_prefix: The mount point.
        cors: Lets pages of other origins read.
        page: Returns the page of an error for a path below the mount point; None
            leaves people with the JSON of programs.
    """

    def __init__(
        self,
        app: App,
        url_prefix: str,
        cors: Cors,
        page: ErrorPage | None = None,
    ) -> None:
        self._app = app
        self._cors = cors
        self._page = page
        self._prefix = url_prefix.rstrip("/")

    def __call__(self) -> Response | None:
        """Return the response, or None to go on with the request."""
        this_thread.answers_requests = True
        error = request.routing_exception
        if error is None or not self._is_ours(error):
            return None
        if "//" in request.path:
            # Routing would merge the slashes, and redirect; our routes have none.
            error = NotFound()
        elif isinstance(error, RequestRedirect):
            # The application's own page with a trailing slash.
            return None
        if request.method == "OPTIONS" and isinstance(error, MethodNotAllowed):
            response = empty_response(204)
            response.headers["Allow"] = allow_header(error.valid_methods or ())
            return add_headers(self._cors(self._cors.preflight(response)))
        below = request.path.removeprefix(self._prefix)
        # Below /v1 is nothing for people but what has a route.
        is_for_people = request.method == "GET" and not below.startswith(V1_PREFIX)
        if self._page and is_for_people and prefers_page(request):
            return self._cors(self._page(below, error))
        return add_headers(self._cors(error_response(error)))

    def _is_ours(self, error: HTTPException) -> bool:
        if self._prefix:
            return f"{request.path}/".startswith(f"{self._prefix}/")
        own = self._app.error_handler_spec[None]
        return not any(
            isinstance(error, handled)
            for code in (error.code, None)
            for handled in own.get(code, ())
        )
