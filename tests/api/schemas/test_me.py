from __future__ import annotations

from flask_forge_jobs.api.schemas.me import AllowedRouteSchema
from flask_forge_jobs.api.v1.cron import ROUTES


def test_a_route_is_written_as_in_the_openapi_document() -> None:
    (route,) = [route for route in ROUTES if route.method == "DELETE"]

    assert AllowedRouteSchema().dump(route) == {
        "method": "DELETE",
        "path": "/v1/cron/{name}",
    }
