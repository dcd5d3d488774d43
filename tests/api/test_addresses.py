"""The table of addresses is that of the routes, which are imported later."""

from __future__ import annotations

import pytest

from flask_forge_jobs.api.addresses import api_addresses
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.dashboard.forms.table import form_routes


@pytest.mark.parametrize("enable_demo", [True, False])
def test_every_route_has_its_address_here(enable_demo: bool) -> None:
    routes = all_routes(enable_demo=enable_demo)
    forms = {form.path for form in form_routes(routes)}

    addresses = api_addresses(enable_demo=enable_demo)

    assert sorted(addresses) == sorted(
        (
            route.address,
            route.view.__module__,
            route.view.__name__,
            route.as_form().path in forms,
        )
        for route in routes
    )
