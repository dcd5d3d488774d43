"""The mount point: its index page, and the answer to URLs below it without a route."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from flask import Response, request
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from flask_forge_jobs.api.errors import allow_header, error_response
from flask_forge_jobs.api.headers import Cors, add_headers
from flask_forge_jobs.api.response import empty_response, json_response
from flask_forge_jobs.request_threads import present

NAME = "flask-forge-jobs"
_LINKS: Mapping[str, str] = {
    "health": "health",
    "readiness": "v1/health/ready",
    "queues": "v1/queues",
    "jobs": "v1/jobs",
    "metrics": "metrics",
    "description": "v1/openapi.json",
}
_PAGE = (
    '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    f"<title>{NAME}</title>\n<h1>{NAME}</h1>\n"
    "<p>The background jobs of this application. All but its health needs a token, "
    "sent as <code>Authorization: Bearer</code>.</p>\n"
    "<ul>\n{items}</ul>\n</html>\n"
)


def index() -> Response:
    """Return the page, as HTML to clients that prefer it and else as JSON.

    It needs no credentials and shows only paths. It answers with and without a slash at
    the end, because a redirect would go to whatever host the client has named.
    """
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == (
        "text/html"
    ):
        # Links are relative to the last slash.
        last = quote(request.path.rpartition("/")[2])
        base = f"./{last}/" if last else ""
        items = "".join(
            f'<li><a href="{base}{path}">{name}</a></li>\n'
            for name, path in _LINKS.items()
        )
        page = _PAGE.replace("{items}", items)
        response = Response(page, content_type="text/html; charset=utf-8")
    else:
        here = f"{request.script_root}{request.path}".rstrip("/")
        links = {name: f"{here}/{path}" for name, path in _LINKS.items()}
        response = json_response({"name": NAME, "links": links})
    response.vary.add("Accept")
    return add_headers(response)


def add_index(app: App, url_prefix: str, endpoint: str) -> None:
    """Serve the page at the mount point, outside the blueprint's access checks."""
    # Not strict_slashes=False, which answers other methods with 404.
    for path in dict.fromkeys((f"{url_prefix}/", url_prefix or "/")):
        app.add_url_rule(
            path, endpoint, index, methods=["GET"], provide_automatic_options=False
        )


def add_index_of(state: BlueprintSetupState) -> None:
    """Serve the page at a mount point; the root is the application's own."""
    prefix = (state.url_prefix or "").rstrip("/")
    if prefix:
        add_index(state.app, prefix, f"{state.blueprint.name}_index{prefix}")


class Unmatched:
    """Answers 404, 405 and ``OPTIONS`` below one mount point.

    A blueprint's error handlers do not see these requests, and an error handler on the
    application would replace the application's own. So this runs before each request,
    looks at the routing result and ignores everything outside the mount point. At the
    root of an application every URL is below it; there the application's own error
    handlers come first.

    It also marks the thread: a second hook would slow down every request.
    """

    def __init__(self, app: App, url_prefix: str, cors: Cors) -> None:
        self._app = app
        self._cors = cors
        self._prefix = url_prefix.rstrip("/")

    def __call__(self) -> Response | None:
        """Return the response, or None to go on with the request."""
        present.answers_requests = True
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
