"""The functions and filters of our templates."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.dashboard.environment import environment
from tests.api.mounting import PREFIX
from tests.dashboard.sites import open_page, with_page


def nothing(_api: object) -> dict[str, object]:
    return {"query": {"status": ["dead"], "per": 50, "cursor": None}}


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ('link("jobs")', "./jobs"),
        ('link("queues", "a/b ?", range="1h")', "./queues/a%2Fb%20%3F?range=1h"),
        ('link("jobs", status=["dead", "done"], q=none)',
         "./jobs?status=dead&amp;status=done"),
        ("here()", "?status=dead&amp;per=50"),
        ('here(status=none, cursor="x&y")', "?per=50&amp;cursor=x%26y"),
        ("here(status=none, per=none)", "?"),
        ('may("read")', "True"),
        ('asset("icon.svg")[:18]', "./static/icon.svg?"),
    ],
)  # fmt: skip
def test_functions(
    monkeypatch: pytest.MonkeyPatch, expression: str, shown: str
) -> None:
    client = with_page(monkeypatch, "{{ " + expression + " }}", nothing)

    assert open_page(client, f"{PREFIX}/try").text == shown


def test_rights_are_those_of_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    template = '{{ may("read") }} {{ may("jobs.retry") }}'
    viewer = Principal.with_role("dana", "viewer")
    client = with_page(monkeypatch, template, nothing, principal=viewer)

    assert open_page(client, f"{PREFIX}/try").text == "True False"


def test_a_read_only_service_offers_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    template = '{{ may("read") }} {{ may("jobs.retry") }}'
    client = with_page(monkeypatch, template, nothing, options={"read_only": True})

    assert open_page(client, f"{PREFIX}/try").text == "True False"


def test_they_do_not_reach_the_applications_templates() -> None:
    app = Flask("host")
    with app.app_context():
        own = environment()

    assert "stamp" in own.filters
    assert "stamp" not in app.jinja_env.filters
    assert "here" not in app.jinja_env.globals
