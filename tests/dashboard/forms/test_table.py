"""Each change below ``/v1`` has a form, and nothing else has."""

from __future__ import annotations

import re

from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.dashboard.forms.table import form_routes

API = [route for route in all_routes(enable_demo=True) if route.mutates]
FORMS = form_routes(all_routes(enable_demo=True))


def test_each_change_below_v1_has_a_form() -> None:
    changes = {
        (route.method.lower(), route.path)
        for route in API
        if route.path.startswith("/v1/") and not route.is_deprecated
    }

    sent = [re.fullmatch("/do/([a-z]+)(/v1/.*)", form.path) for form in FORMS]

    assert {match.groups() for match in sent if match} == changes
    assert {form.method for form in FORMS} == {"POST"}
    assert all(form.is_page and form.is_form for form in FORMS)
