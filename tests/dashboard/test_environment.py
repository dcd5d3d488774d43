"""The functions and filters of our templates."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.dashboard.environment import environment
from flask_forge_jobs.model.instants import from_micros
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


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ text }}", r"\u202eevil\u2066 &lt;b&gt;\x1b[1m" + "\n\tx\u05d0"),
        ('<input value="{{ text | as_is }}">', '<input value="{{ kept }}">'),
    ],
)
def test_characters_that_reorder_a_text_are_shown(
    monkeypatch: pytest.MonkeyPatch, template: str, expected: str
) -> None:
    """A form sends back what it was given."""
    text = "\u202eevil\u2066 <b>\x1b[1m\n\tx\u05d0"
    client = with_page(monkeypatch, template, lambda _: {"text": text})

    shown = open_page(client, f"{PREFIX}/try").text

    assert shown == expected.replace("{{ kept }}", text.replace("<b>", "&lt;b&gt;"))


@pytest.mark.parametrize(
    ("days", "is_far"), [(364, False), (366, True), (-400_000, True)]
)
def test_an_instant_that_is_far_away_is_a_date(
    monkeypatch: pytest.MonkeyPatch, days: int, is_far: bool
) -> None:
    template = '{% from "forge_jobs/_parts.html" import time %}{{ time(at) }}'
    at = from_micros(SystemClock().now_us()) - timedelta(days=days)
    client = with_page(monkeypatch, template, lambda _: {"at": at})

    text = open_page(client, f"{PREFIX}/try").text

    assert (f">{at:%Y-%m-%d}<" if is_far else "data-ago>364d ago<") in text
    assert ("data-ago" in text) is not is_far


def test_they_do_not_reach_the_applications_templates() -> None:
    app = Flask("host")
    with app.app_context():
        own = environment()

    assert "stamp" in own.filters
    assert "stamp" not in app.jinja_env.filters
    assert "here" not in app.jinja_env.globals


def test_names_of_jinja_keep_their_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flask("host")
    app.jinja_env.filters["length"] = lambda _: "of the application"
    app.jinja_env.tests["none"] = lambda _: True
    app.jinja_env.globals["range"] = "of the application"
    template = "{{ [1, 2] | length }} {{ 0 is none }} {{ range(2) | list }}"
    client = with_page(monkeypatch, template, lambda _: {}, app=app)

    assert open_page(client, f"{PREFIX}/try").text == "2 False [0, 1]"
