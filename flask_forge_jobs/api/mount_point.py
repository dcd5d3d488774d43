"""The URLs below the mount point that have no route."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request
from flask.sansio.app import App
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import RequestRedirect

from flask_forge_jobs.request_threads import this_thread

# Takes the path below the mount point.
Answer = Callable[[str, HTTPException], Response]


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
        answer: Takes the path below the mount point and the error, and returns the
            response.
    """

    def __init__(self, app: App, url_prefix: str, answer: Answer) -> None:
        self._app = app
        self._answer = answer
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
        return self._answer(request.path.removeprefix(self._prefix), error)

    def _is_ours(self, error: HTTPException) -> bool:
        if self._prefix:
            return f"{request.path}/".startswith(f"{self._prefix}/")
        own = self._app.error_handler_spec[None]
        return not any(
            isinstance(error, handled)
            for code in (error.code, None)
            for handled in own.get(code, ())
        )
