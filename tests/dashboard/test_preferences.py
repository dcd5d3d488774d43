"""Theme, refresh and times: cookies, set by a form that works without script."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import LINK_SECRETS, PREFIX, mount
from tests.api.tokens import client_of_principal
from tests.dashboard.forms.sending import token_of_browser
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import PERSON, UNASKED, open_page
from tests.support.backends import on_sqlite
from tests.support.jobs import enqueue

PATH = f"{PREFIX}/preferences"
OWN = PERSON | {"Sec-Fetch-Site": "same-origin"}
Form = Mapping[str, str]


@pytest.fixture
def client() -> FlaskClient:
    """A client of an application that lets nobody in."""
    options = BlueprintOptions(authenticator=lambda _: None, link_secrets=LINK_SECRETS)
    return mount(UNASKED, options)


def post(client: FlaskClient, form: Form, headers: Form = OWN) -> TestResponse:
    return client.post(PATH, data={**token_of_browser(client), **form}, headers=headers)


def test_a_theme_is_kept_and_served(client: FlaskClient) -> None:
    form = {"theme": "dark", "back": "jobs?status=dead"}
    answer = post(client, form)

    assert (answer.status_code, answer.headers["Location"]) == (
        303, "./jobs?status=dead"
    )  # fmt: skip
    cookie = answer.headers["Set-Cookie"]
    # Without a path it holds for the mount point as the browser sees it.
    assert "Path" not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert 'data-theme="dark"' in open_page(client).text


def test_a_script_gets_no_page(client: FlaskClient) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Accept": "application/json"}
    answer = post(client, {"refresh": "0"}, headers)

    assert (answer.status_code, answer.data) == (204, b"")
    assert "forge_jobs_refresh=0" in answer.headers["Set-Cookie"]


@on_sqlite
def test_times_are_dates_on_request(storage: Storage) -> None:
    client = client_of_principal(storage, Principal.with_role("ann", "viewer"))
    job_id = enqueue(storage)

    def time(query: str = "") -> Element:
        page = parsed(open_page(client, f"{PREFIX}/jobs{query}").text)
        return page.find(f"#j-{job_id}").find("time")

    assert "data-ago" in time().attributes
    keys = parsed(open_page(client, f"{PREFIX}/jobs?ask=keys").text).find("#ask")
    button = next(each for each in keys.all("button") if each["name"] == "times")
    post(client, {"times": button["value"]})

    for query in ("", "?only=rows"):
        shown = time(query)
        assert shown.text == shown["title"]
        assert "data-ago" not in shown.attributes


@pytest.mark.parametrize(
    "form",
    [
        {"other": ""},
        {"theme": "pink"},
        {"refresh": "1"},
        {"theme": "dark", "refresh": ""},
        {"times": "cet"},
    ],
)
def test_no_other_values(client: FlaskClient, form: dict[str, str]) -> None:
    answer = post(client, form)

    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.test/",
        "//evil.test",
        "../x",
        "a/..",
        "x\r\nSet-Cookie: a=b",
        "\\x",
        "%2e%2e/x",
        "a/.%2E",
    ],
)
def test_the_way_back_stays_below_the_mount_point(
    client: FlaskClient, back: str
) -> None:
    answer = post(client, {"theme": "dark", "back": back})

    assert answer.headers["Location"] == "./"


def test_another_site_sets_nothing(client: FlaskClient) -> None:
    headers = PERSON | {"Sec-Fetch-Site": "cross-site"}
    answer = post(client, {"theme": "dark"}, headers)

    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("token", [{}, {"_token": ""}, {"_token": "0" * 32}])
def test_a_form_needs_the_token_of_its_browser(
    client: FlaskClient, token: dict[str, str]
) -> None:
    token_of_browser(client)
    answer = client.post(PATH, data={"theme": "dark", **token}, headers=OWN)

    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


@on_sqlite
def test_every_form_of_a_page_carries_a_token(storage: Storage) -> None:
    client = client_of_principal(storage, Principal.with_role("ann", "viewer"))
    page = parsed(open_page(client, f"{PREFIX}/jobs?ask=keys").text)
    forms = [form for form in page.all("form") if form["method"] == "post"]
    tokens = [
        [field["value"] for field in form.all("input") if field["name"] == "_token"]
        for form in forms
    ]

    # Refresh, theme and times.
    assert [form["action"] for form in forms] == ["./preferences"] * 3
    assert [len(each) for each in tokens] == [1, 1, 1]
    answer = client.post(
        PATH, data={"times": "utc", "_token": tokens[0][0]}, headers=OWN
    )
    assert answer.status_code == 303


def test_an_unknown_cookie_is_the_default(client: FlaskClient) -> None:
    client.set_cookie("forge_jobs_theme", "pink<")

    assert "data-theme" not in open_page(client).text
