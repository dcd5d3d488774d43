"""Each change below ``/v1`` has a form, nothing else has, and one rule is for all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from flask import Flask, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from flask_forge_jobs.api.addresses import PLACEHOLDER, converters
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.dashboard.forms.table import FormTable, form_routes
from tests.dashboard.sites import UNASKED

CONVERTERS = converters([route.path for route in all_routes(enable_demo=True)])
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


@pytest.fixture(scope="module")
def single() -> MapAdapter:
    """Return an application's rules, with one for each form."""
    app = Flask("host")
    app.url_map.converters.update(CONVERTERS)
    for form in FORMS:
        app.add_url_rule(form.path, form.endpoint, methods=["POST"])
    return app.url_map.bind("host")


@pytest.fixture(scope="module")
def app() -> Flask:
    app = Flask("host")
    options = BlueprintOptions(enable_demo=True)
    app.register_blueprint(create_blueprint(UNASKED, options=options))
    return app


def _routed(adapter: MapAdapter, path: str, method: str) -> object:
    try:
        return adapter.match(path, method)
    except HTTPException as error:
        return type(error)


# Of a job, a queue or a limit: also words of routes, and texts of several segments.
NAMES = ["x", "retry", "list", "run-now", "actions", "a.b:c", "ä ö", "a\nb", "", "a/b"]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.endpoint)
def test_the_one_rule_knows_the_same_forms(
    single: MapAdapter, app: Flask, form: Route
) -> None:
    adapter = app.url_map.bind("host")
    for name in NAMES:
        path = PLACEHOLDER.sub(name, form.path)
        for each in (path, f"{path}/", f"{path}/more", path.replace("/v1", "/v2")):
            expected = _routed(single, each, "POST")
            actual = _routed(adapter, each, "POST")
            if isinstance(actual, tuple):
                actual = _entered(app, each)
            assert actual == expected, each
            assert _routed(adapter, each, "GET") == _routed(single, each, "GET"), each


def _entered(app: Flask, path: str) -> tuple[str, Mapping[str, object]]:
    with app.test_request_context(quote(path), method="POST"):
        form = FormTable(FORMS, CONVERTERS).enter(request)
        assert form is not None
        assert request.url_rule is not None
        assert request.url_rule.rule == form.path
        return form.endpoint, request.view_args or {}


def test_all_forms_cost_an_application_one_rule(app: Flask) -> None:
    forms = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/do")]

    assert len(FORMS) > 30
    assert len(forms) == 1
