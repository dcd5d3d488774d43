from __future__ import annotations

from flask_forge_jobs.api.schemas.me import AllowedRouteSchema
from flask_forge_jobs.handlers.me import Change


def test_a_change_is_its_method_and_path_on_the_wire() -> None:
    change = Change("DELETE", "/v1/cron/{name}", "cron.edit", is_of_all=True)

    assert AllowedRouteSchema().dump(change) == {
        "method": "DELETE",
        "path": "/v1/cron/{name}",
    }
