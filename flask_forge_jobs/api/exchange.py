"""One request to a route of ours, and what is found out about it on its way.

It holds the request itself: each look through Flask's proxies costs as much as a dozen
attributes, and every answer takes dozens of looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import cast

from flask import Request, g, request

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.auth.principal import Principal


@dataclass(slots=True)
class Exchange:
    """One request on its way from the first look at it to its answer.

    Args:
        request: What came in.
        route: What it was sent to.
        began: Reading of :func:`time.perf_counter` at the first look.
        principal: Who sent it; None before that is known, and for good on a route that
            is open to everybody.
        reveals: Whether its answer may show what is otherwise masked.
        is_noted: Whether its entry in the audit trail is stored.
    """

    request: Request
    route: Route
    began: float
    principal: Principal | None = None
    reveals: bool = False
    is_noted: bool = False


class Exchanges:
    """Makes the exchanges of one blueprint.

    Args:
        routes: Every route of the blueprint.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = {route.endpoint: route for route in routes}

    def begin(self) -> Exchange:
        """Return a new exchange for the present request."""
        asked = _present_request()
        # Without the names of the blueprints around the route's own.
        endpoint = (asked.endpoint or "").rpartition(".")[2]
        begun = Exchange(asked, self._routes[endpoint], perf_counter())
        g.forge_jobs_exchange = begun
        return begun

    def present(self) -> Exchange:
        """Return the exchange of the present request.

        It begins now when a hook of the host's has answered before ours were asked.
        """
        return present_exchange() or self.begin()


def present_exchange() -> Exchange | None:
    """Return the exchange of the present request, if it has begun."""
    found: Exchange | None = g.get("forge_jobs_exchange")
    # A context of the application may outlive a request.
    if found is None or found.request is not _present_request():
        return None
    return found


def _present_request() -> Request:
    # The type stubs take the proxy for a request.
    return cast("Request", request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001
