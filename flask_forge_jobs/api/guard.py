"""What every request must pass before its view: who asks, and may it."""

from __future__ import annotations

from collections.abc import Iterable

from flask import current_app, g, request
from werkzeug.exceptions import Forbidden

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import check_media_type
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.scope import CLUSTER_MESSAGE, Reach
from flask_forge_jobs.auth.access import Access
from flask_forge_jobs.auth.csrf import SAFE_METHODS, check_same_site, has_body
from flask_forge_jobs.auth.failures import FailureLimit


class Guard:
    """Checks each request of one blueprint.

    Args:
        api: What the views are given.
        routes: Every route of the blueprint.
    """

    def __init__(self, api: Api, routes: Iterable[Route]) -> None:
        options = api.options
        self._api = api
        self._routes = {route.endpoint: route for route in routes}
        self._access = Access(
            tokens=options.tokens,
            authenticator=options.authenticator,
            failures=FailureLimit(options.clock),
            is_open_to_loopback=options.open_to_loopback,
        )

    def __call__(self) -> None:
        """Let the present request pass.

        Raises:
            HTTPException: It may not.
            RateLimitedError: Too many wrong credentials were sent.
            JobNotFoundError: The job it names is none of the caller's.
        """
        route = self._routes[endpoint()]
        if route.permission is None:
            return
        principal = self._access.principal(request, current_app)
        g.forge_jobs_principal = principal
        if not principal.may(route.permission):
            raise Forbidden(f"this needs the permission {route.permission.value}")
        check_same_site(request)
        if request.method not in SAFE_METHODS and has_body(request):
            check_media_type(request)
        self._check_reach(route)

    def _check_reach(self, route: Route) -> None:
        scope = self._api.scope
        if scope.queues is None:
            return
        placeholders = request.view_args or {}
        match route.reach:
            case Reach.CLUSTER:
                raise Forbidden(CLUSTER_MESSAGE)
            case Reach.QUEUE:
                scope.require(placeholders["name"])
            case Reach.JOB:
                scope.require_job(placeholders["job_id"])
            case Reach.VIEW:
                pass


def endpoint() -> str:
    """Return the route's own name, without those of the blueprints around it."""
    return (request.endpoint or "").rpartition(".")[2]
