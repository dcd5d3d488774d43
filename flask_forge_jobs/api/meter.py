"""Counts and times every request of one blueprint, refused ones included."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from flask import Response, g, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.guard import endpoint
from flask_forge_jobs.api.routes import Route


class RequestMeter:
    """Two hooks: one before everything else, one after.

    Args:
        api: Keeps the figures.
        routes: Every route of the blueprint.
    """

    def __init__(self, api: Api, routes: Iterable[Route]) -> None:
        self._api = api
        self._paths = {route.endpoint: route.path for route in routes}

    def begin(self) -> None:
        """Look at the clock."""
        g.forge_jobs_began = perf_counter()

    def end(self, response: Response) -> Response:
        """Count the request; return its answer as it is."""
        self._api.request_metrics.observe(
            request.method,
            self._paths[endpoint()],
            response.status_code,
            perf_counter() - g.forge_jobs_began,
        )
        return response
