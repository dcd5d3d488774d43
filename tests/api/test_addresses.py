"""The table of addresses knows the forms, whose routes are imported later."""

from __future__ import annotations

import pytest

from flask_forge_jobs.api.addresses import api_addresses, form_path
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.dashboard.forms.table import form_routes


@pytest.mark.parametrize("enable_demo", [True, False])
def test_every_form_has_its_address_here(enable_demo: bool) -> None:
    addresses = api_addresses(enable_demo=enable_demo)
    forms = form_routes(all_routes(enable_demo=enable_demo))

    assert [form_path(*each.address[:2]) for each in addresses if each.has_form] == [
        form.path for form in forms
    ]
