"""The index page at the mount point, for people and programs.

It needs no credentials and shows only paths.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response, request
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App

from flask_forge_jobs.api.headers import add_headers
from flask_forge_jobs.api.response import json_response

NAME = "flask-forge-jobs"
_LINKS: Mapping[str, str] = {
    "health": "health",
    "readiness": "v1/health/ready",
    "queues": "v1/queues",
    "jobs": "v1/jobs",
    "metrics": "metrics",
    "description": "v1/openapi.json",
}
_ITEMS = "".join(
    f'<li><a href="{path}">{name}</a></li>\n' for name, path in _LINKS.items()
)
_PAGE = (
    '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    f"<title>{NAME}</title>\n<h1>{NAME}</h1>\n"
    "<p>The background jobs of this application. All but its health needs a token, "
    "sent as <code>Authorization: Bearer</code>.</p>\n"
    f"<ul>\n{_ITEMS}</ul>\n</html>\n"
)


def index() -> Response:
    """Return the page, as HTML to clients that prefer it and else as JSON."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == (
        "text/html"
    ):
        response = Response(_PAGE, content_type="text/html; charset=utf-8")
    else:
        here = f"{request.script_root}{request.path}"
        links = {name: f"{here}{path}" for name, path in _LINKS.items()}
        response = json_response({"name": NAME, "links": links})
    response.vary.add("Accept")
    return add_headers(response)


def add_index(app: App, url_prefix: str, endpoint: str) -> None:
    """Serve the page at the mount point, outside the blueprint's access checks."""
    app.add_url_rule(
        f"{url_prefix}/",
        endpoint,
        index,
        methods=["GET"],
        provide_automatic_options=False,
    )


def add_index_of(state: BlueprintSetupState) -> None:
    """Serve the page at a mount point; the root is the application's own."""
    prefix = (state.url_prefix or "").rstrip("/")
    if prefix:
        add_index(state.app, prefix, f"{state.blueprint.name}_index{prefix}")
