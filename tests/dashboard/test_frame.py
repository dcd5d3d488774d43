"""The frame: navigation and counts by right, state line, partial updates."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient
from jinja2 import DictLoader

from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import open_page, with_page

FAR_OFF = datetime(2999, 1, 1, tzinfo=UTC)
TEMPLATE = """{% extends "forge_jobs/base.html" %}
{% from "forge_jobs/_parts.html" import time %}
{% block title %}Try{% endblock %}
{% block main %}<h1>Try</h1>
{% block rows %}<p id="rows">{{ time(at) }} {{ things.cheap }}</p>{% endblock %}
{% block more %}<p id="more">{{ things.dear }}</p>{% endblock %}
{% endblock %}"""


class Things:
    """What the page shows; ``asked`` are those that it has asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def cheap(self) -> str:
        self.asked.append("cheap")
        return "<cheap>"

    @property
    def dear(self) -> str:
        self.asked.append("dear")
        return "dear"


THINGS = Things()


def tried(_api: object) -> dict[str, object]:
    return {"things": THINGS, "at": datetime(2026, 1, 1, tzinfo=UTC)}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, storage: Storage) -> FlaskClient:
    THINGS.asked.clear()
    return with_page(
        monkeypatch, TEMPLATE, tried, "/retries", storage=storage,
        blocks=("rows", "more"), nav="Retries", icon="retries", order=13,
        reach=Reach.VIEW,
    )  # fmt: skip


def test_a_page_is_in_the_navigation_once_it_is_there(client: FlaskClient) -> None:
    text = open_page(client, f"{PREFIX}/retries").text

    assert re.search(r'<a class="i-retries" href="./retries"[^>]*aria-current', text)
    assert "<title>Try · Forge Jobs</title>" in text
    assert text.count("<h1>") == 1


def test_only_the_blocks_that_are_asked_for(client: FlaskClient) -> None:
    path = f"{PREFIX}/retries?only=rows,evil,state"
    answer = open_page(client, path)

    assert re.findall(r' id="([a-z]+)"', answer.text) == ["state", "rows"]
    assert "<cheap>" not in answer.text
    # What only another block needs is not computed.
    assert THINGS.asked == ["cheap"]
    # The script fills in relative times, so that they do not change the answer.
    assert re.search(r'<time datetime="2026-01-01T00:00:00.000Z"[^>]*></time>',
                     answer.text)  # fmt: skip


def test_an_unchanged_answer_is_304(client: FlaskClient) -> None:
    path = f"{PREFIX}/retries?only=rows"
    known = {"If-None-Match": open_page(client, path).headers["ETag"]}

    again = client.get(path, headers=known | {"Accept": "text/html"})

    assert (again.status_code, again.data) == (304, b"")


def test_no_known_block_is_an_empty_answer(client: FlaskClient) -> None:
    answer = open_page(client, f"{PREFIX}/retries?only=evil")

    assert (answer.status_code, answer.text.strip()) == (200, "")


def test_counts_are_those_of_the_callers_queues(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    storage.jobs.enqueue_many([NewJob("send", queue_name="mail")] * 3)
    storage.jobs.enqueue_many([NewJob("send", queue_name="secret-queue")] * 40)
    limited = Principal.with_role("dana", "viewer", queues=["mail"])
    client = with_page(
        monkeypatch, TEMPLATE, tried, storage=storage, principal=limited,
        reach=Reach.VIEW,
    )  # fmt: skip

    text = parsed(open_page(client, f"{PREFIX}/try").text).text

    assert "3 waiting" in text
    assert "43" not in text
    assert "secret" not in text


def test_pages_that_the_caller_may_not_open_are_not_offered(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    viewer = Principal.with_role("dana", "viewer")
    client = with_page(
        monkeypatch, TEMPLATE, tried, storage=storage, principal=viewer,
        permission=Permission.ADMIN, nav="Secret page",
    )  # fmt: skip

    assert "Secret page" not in open_page(client).text
    refused = open_page(client, f"{PREFIX}/try")
    assert refused.status_code == 403
    assert "Secret page" not in refused.text


def test_a_page_is_shown_while_the_counts_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = faulty_storage(StorageUnavailableError("at /srv/queue.sqlite"))
    client = with_page(monkeypatch, TEMPLATE, tried, storage=away, nav="Try")

    text = open_page(client, f"{PREFIX}/try").text

    assert "<h1>Try</h1>" in text
    assert "waiting" not in text
    assert "/srv" not in text


def test_the_worst_alarm_stands_above_every_page(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    evil = "<b>x"
    storage.jobs.enqueue(NewJob("send", queue_name=evil))
    storage.workers.beat("worker-1", None, ["mail"], [])
    client = with_page(monkeypatch, TEMPLATE, tried, storage=storage, nav="Try")

    text = open_page(client, f"{PREFIX}/try").text

    assert "&lt;b&gt;x" in text
    assert evil not in text


def test_the_host_names_its_panel(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    options = {
        "dashboard_title": "Mail <b>", "dashboard_badge": "production",
        "dashboard_colour": "amber", "dashboard_home": "https://shop.example/",
        "dashboard_links": {"Runbook": "/runbook?a=1&b=2"},
    }  # fmt: skip
    client = with_page(
        monkeypatch, TEMPLATE, tried, storage=storage, options=options, nav="Try"
    )

    text = open_page(client, f"{PREFIX}/try").text

    for expected in (
        "<span>Mail &lt;b&gt;</span>", '<b class="env c-amber">production</b>',
        'href="https://shop.example/"', 'href="/runbook?a=1&amp;b=2"',
    ):  # fmt: skip
        assert expected in text


def test_pages_without_an_entry_mark_the_way_to_them(storage: Storage) -> None:
    client = client_of_principal(storage, Principal.with_role("ann", "admin"))

    for path, name in (("bulk", "Jobs"), ("skipped", "Jobs"), ("find", "/")):
        page = parsed(open_page(client, f"{PREFIX}/{path}").text)
        marked = [each for each in page.all("a") if each["aria-current"] == "page"]
        assert [each.text.removeprefix("Search or jump to") for each in marked] == [
            name
        ]


def test_a_role_stands_beside_the_name_as_a_role(storage: Storage) -> None:
    client = client_of_principal(storage, Principal.with_role("admin", "admin"))

    page = parsed(open_page(client, f"{PREFIX}/queues").text)

    [menu] = [each for each in page.all("details") if each["class"] == "menu user"]
    assert menu.find("summary")["aria-label"] == "admin role: admin"
    assert menu.find("summary").text == "admin role: admin"
    # On phones it is the only way to what stands at the top elsewhere.
    assert menu.find("#help")["href"] == "?ask=keys"


def test_the_host_adds_a_style_sheet(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    client = with_page(monkeypatch, TEMPLATE, tried, storage=storage, nav="Try")
    own = '<link rel="stylesheet" href="/static/jobs.css">'
    loader = client.application.jinja_loader
    assert isinstance(loader, DictLoader)
    loader.mapping = {**loader.mapping, "forge_jobs/_head.html": own}

    sheets = [
        each["href"]
        for each in parsed(open_page(client, f"{PREFIX}/try").text).all("link")
        if each["rel"] == "stylesheet"
    ]

    # Behind ours, so that its colours win.
    assert sheets[0].startswith("./static/dashboard.css")
    assert sheets[1:] == ["/static/jobs.css"]


def test_a_browser_reads_no_page_before_its_sheet_and_script(
    client: FlaskClient,
) -> None:
    head = parsed(open_page(client, f"{PREFIX}/try").text).find("head")

    # The script, which stops the browser until the sheet in front of it is there.
    [script] = head.all("script")
    parts = [each for each in head.parts if isinstance(each, Element)]
    sheets = [each for each in parts if each["rel"] == "stylesheet"]
    assert parts.index(sheets[-1]) < parts.index(script) == len(parts) - 1
    assert not {"defer", "async", "type"} & script.attributes.keys()


def test_a_host_may_serve_no_pages(storage: Storage) -> None:
    client = mount(storage, BlueprintOptions(dashboard=False))

    index = open_page(client)
    assert index.json is not None
    assert index.json["name"] == "flask-forge-jobs"
    for path in ("/jobs", "/static/dashboard.css", "/preferences", "/sign-in"):
        assert open_page(client, PREFIX + path).status_code == 404, path
    assert client.get(f"{PREFIX}/v1/queues").status_code == 200


def test_no_link_repeats_a_query_of_great_length(client: FlaskClient) -> None:
    usual = open_page(client, f"{PREFIX}/retries?error=boom").text
    text = open_page(client, f"{PREFIX}/retries?error={'x' * 30_000}").text

    assert "?error=boom" in usual
    assert "xxxx" not in text
