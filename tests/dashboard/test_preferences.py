"""Theme, refresh and times: cookies, set by a form that works without script."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import PERSON, UNASKED, open_page
from tests.support.backends import on_sqlite
from tests.support.jobs import enqueue

PATH = f"{PREFIX}/preferences"
OWN = PERSON | {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def client() -> FlaskClient:
    """A client of an application that lets nobody in."""
    return mount(UNASKED, BlueprintOptions(authenticator=lambda _: None))


def test_a_theme_is_kept_and_served(client: FlaskClient) -> None:
    form = {"theme": "dark", "back": "jobs?status=dead"}
    answer = client.post(PATH, data=form, headers=OWN)

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
    answer = client.post(PATH, data={"refresh": "0"}, headers=headers)

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
    client.post(PATH, data={"times": button["value"]}, headers=OWN)

    for query in ("", "?only=rows"):
        shown = time(query)
        assert f"{shown.text[:-1]} UTC" == shown["title"]
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
    answer = client.post(PATH, data=form, headers=OWN)

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
    ],
)
def test_the_way_back_stays_below_the_mount_point(
    client: FlaskClient, back: str
) -> None:
    answer = client.post(PATH, data={"theme": "dark", "back": back}, headers=OWN)

    location = answer.headers["Location"]
    assert location.startswith("./")
    assert ".." not in location
    assert "\\" not in location


def test_another_site_sets_nothing(client: FlaskClient) -> None:
    headers = PERSON | {"Sec-Fetch-Site": "cross-site"}
    answer = client.post(PATH, data={"theme": "dark"}, headers=headers)

    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_an_unknown_cookie_is_the_default(client: FlaskClient) -> None:
    client.set_cookie("forge_jobs_theme", "pink<")

    assert "data-theme" not in open_page(client).text
