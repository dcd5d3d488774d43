"""The ``forge_jobs`` blueprint: routes, access, headers, errors.

``app.register_blueprint(create_blueprint(storage), url_prefix="/api/queue")`` is all an
application needs; :class:`flask_forge_jobs.ForgeJobs` does the same and more. Errors
below the mount point have the API's own form in every application.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from flask import Blueprint, Response
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import default_exceptions

from flask_forge_jobs.api.auditor import Auditor
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import error_response
from flask_forge_jobs.api.guard import Guard
from flask_forge_jobs.api.headers import (
    DEPRECATED_SINCE,
    Cors,
    add_headers,
    answer_conditionally,
)
from flask_forge_jobs.api.mount_point import Unmatched, add_index_of
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.request import RequestState, present_state
from flask_forge_jobs.api.routes import Route, add_converters
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.storage.base import Storage

__all__ = ["BlueprintOptions", "create_blueprint"]

BLUEPRINT_NAME = "forge_jobs"


def create_blueprint(
    storage: Storage | Callable[[], Storage],
    *,
    options: BlueprintOptions | None = None,
) -> Blueprint:
    """Return a blueprint that serves the API of one storage.

    Nothing is opened before the first request that uses the storage.

    Args:
        storage: The storage, or a function that returns the storage of the current
            request.
        options: How the blueprint behaves. None means the defaults, which answer only
            direct requests from this machine in debug or in tests.

    Raises:
        ConfigurationError: An option is invalid.
    """
    chosen = options or BlueprintOptions()
    routes = all_routes(enable_demo=chosen.enable_demo)
    api = Api(storage, chosen, routes)
    blueprint = Blueprint(BLUEPRINT_NAME, __name__)
    auditor = Auditor(api)
    blueprint.record(lambda state: add_converters(state.app.url_map, routes))
    for route in routes:
        blueprint.add_url_rule(
            route.path,
            endpoint=route.endpoint,
            view_func=_named(
                auditor.view(route) if route.mutates else partial(route.view, api),
                route.view,
            ),
            methods=[route.method],
            # Unmatched answers OPTIONS, with 204 and no body.
            provide_automatic_options=False,
        )
    cors = Cors(chosen.cors_origins)
    _add_hooks(blueprint, api, routes, cors, auditor)

    handler = partial(error_response, mask=api.masking_redactor.text)
    blueprint.register_error_handler(Exception, handler)
    # The application's handler for a status would precede ours for all exceptions.
    for status in default_exceptions:
        blueprint.register_error_handler(status, handler)
    blueprint.record(partial(_answer_unmatched_urls, cors))
    blueprint.record(add_index_of)
    return blueprint


def _named(
    view: Callable[..., Response], named: Callable[..., Response]
) -> Callable[..., Response]:
    """Give a view the names of another, by which extensions know views.

    Not ``__wrapped__``: the signature of the other one has the Api too.
    """
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(view, name, getattr(named, name))
    return view


def _add_hooks(
    blueprint: Blueprint,
    api: Api,
    routes: Sequence[Route],
    cors: Cors,
    auditor: Auditor,
) -> None:
    """Add the functions that run before and after each request."""
    by_endpoint = {route.endpoint: route for route in routes}
    guard = Guard(api)

    def routed() -> RequestState:
        state = present_state()
        # Strip the names of the enclosing blueprints.
        endpoint = (state.request.endpoint or "").rpartition(".")[2]
        state.route = by_endpoint[endpoint]
        return state

    # One hook for everything: Flask checks each hook for a coroutine on each request.
    @blueprint.before_request
    def begin() -> None:
        guard(routed())

    @blueprint.after_request
    def end(response: Response) -> Response:
        state = routed()  # a hook of the application may have answered before ours
        if state.route.is_deprecated:
            response.headers["Deprecation"] = DEPRECATED_SINCE
        response = cors(add_headers(response))
        response = answer_conditionally(state, auditor(state, response))
        api.request_metrics.observe(
            state.request.method,
            state.route.path,
            response.status_code,
            perf_counter() - state.began,
        )
        return response


def _answer_unmatched_urls(cors: Cors, state: BlueprintSetupState) -> None:
    state.app.before_request(Unmatched(state.app, state.url_prefix or "", cors))
