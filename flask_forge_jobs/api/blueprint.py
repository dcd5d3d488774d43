"""The ``forge_jobs`` blueprint: routes, access, headers, errors.

``app.register_blueprint(create_blueprint(storage), url_prefix="/api/queue")`` is all an
application needs; :class:`flask_forge_jobs.ForgeJobs` does the same and more. Every
answer below the mount point is the API's own, whichever application it is mounted in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import default_exceptions

from flask_forge_jobs.api.context import Api, BlueprintOptions
from flask_forge_jobs.api.errors import error_response
from flask_forge_jobs.api.headers import add_headers
from flask_forge_jobs.api.unmatched import Unmatched
from flask_forge_jobs.api.unversioned import jobs, queues, system
from flask_forge_jobs.auth.access import check_access
from flask_forge_jobs.auth.csrf import check_same_site
from flask_forge_jobs.storage.base import Storage

__all__ = ["BlueprintOptions", "create_blueprint"]

BLUEPRINT_NAME = "forge_jobs"
OPEN_ENDPOINTS = frozenset({"health"})


class Route(NamedTuple):
    """One line of the route table."""

    method: str
    path: str
    endpoint: str
    view: Callable[..., Response]


ROUTES = (
    Route("GET", "/health", "health", system.health),
    Route("GET", "/metrics", "metrics", system.metrics),
    Route("GET", "/storage/info", "storage_info", system.storage_info),
    Route("GET", "/queue/overview", "queue_overview", queues.overview),
    Route("GET", "/queue/processes", "queue_processes", queues.list_processes),
    Route(
        "POST",
        "/queue/<name>/max-workers",
        "queue_set_max_workers",
        queues.set_max_workers,
    ),
    Route("POST", "/queue/<name>/paused", "queue_set_paused", queues.set_paused),
    Route("POST", "/queue/<name>/backoff", "queue_set_backoff", queues.set_backoff),
    Route("POST", "/jobs/list", "jobs_list", jobs.list_jobs),
    Route("GET", "/jobs/inspect/<job_id>", "job_inspect", jobs.inspect_job),
    Route("POST", "/jobs/enqueue", "jobs_enqueue", jobs.enqueue),
    Route("POST", "/jobs/run-now/<job_id>", "jobs_run_now", jobs.run_now),
    Route("POST", "/jobs/retry", "jobs_retry", jobs.retry),
    Route("POST", "/jobs/delete", "jobs_delete", jobs.delete),
)
DEMO_ROUTE = Route("POST", "/jobs/enqueue-demo", "jobs_enqueue_demo", jobs.enqueue_demo)


def create_blueprint(
    storage: Storage | Callable[[], Storage],
    *,
    options: BlueprintOptions | None = None,
) -> Blueprint:
    """Return a blueprint that serves the API of one storage.

    Nothing is opened: the storage is first used when a request needs it.

    Args:
        storage: The storage, or a function that returns the one to use for the present
            request.
        options: How the blueprint behaves; None means the defaults, which answer only
            direct requests from this machine in debug or in tests.
    """
    chosen = options or BlueprintOptions()
    api = Api(storage, chosen)
    blueprint = Blueprint(BLUEPRINT_NAME, __name__)
    routes = (*ROUTES, DEMO_ROUTE) if chosen.enable_demo else ROUTES
    for route in routes:
        blueprint.add_url_rule(
            route.path,
            endpoint=route.endpoint,
            view_func=partial(route.view, api),
            methods=[route.method],
            # OPTIONS is answered by Unmatched, with 204 and no body.
            provide_automatic_options=False,
        )
    blueprint.before_request(partial(_check_request, chosen))
    blueprint.after_request(add_headers)
    blueprint.register_error_handler(Exception, error_response)
    # A handler of the host for a status comes before one of ours for all exceptions.
    for status in default_exceptions:
        blueprint.register_error_handler(status, error_response)
    blueprint.record(_answer_unmatched_urls)
    return blueprint


def _check_request(options: BlueprintOptions) -> None:
    endpoint = (request.endpoint or "").rpartition(".")[2]
    if endpoint not in OPEN_ENDPOINTS:
        check_access(
            request,
            app=current_app,
            authenticator=options.authenticator,
            is_open_to_loopback=options.open_to_loopback,
        )
    check_same_site(request)


def _answer_unmatched_urls(state: BlueprintSetupState) -> None:
    state.app.before_request(Unmatched(state.app, state.url_prefix or ""))
