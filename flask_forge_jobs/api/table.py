"""The table of all routes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from flask_forge_jobs.api.addresses import ApiAddress, api_addresses
from flask_forge_jobs.api.routes import Route


@cache
def all_routes(*, enable_demo: bool) -> tuple[Route, ...]:
    """Return every route: the reference's, the same below ``/v1``, and ours.

    A route of ours replaces the same one below ``/v1`` if it shows more.
    """
    return tuple(map(_route_at, api_addresses(enable_demo=enable_demo)))


def _route_at(known: ApiAddress) -> Route:
    route = _routes_in(known.module)[known.name]
    return route if route.address == known.address else route.under_v1()


@cache
def _routes_in(module: str) -> Mapping[str, Route]:
    """Return the routes of a module by the names of their views."""
    return {route.view.__name__: route for route in import_module(module).ROUTES}
