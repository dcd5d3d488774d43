"""Views are saved and removed by forms, in the browser's own cookie."""

from __future__ import annotations

import pytest

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.dashboard.forms.sending import token_of_browser
from tests.dashboard.pages.test_jobs import Lists, links, lists_of
from tests.dashboard.sites import PERSON
from tests.support.backends import on_sqlite

SITE = {**PERSON, "Sec-Fetch-Site": "same-origin"}
pytestmark = on_sqlite


@pytest.fixture
def lists(storage: Storage) -> Lists:
    return lists_of(storage)


def post(lists: Lists, site: str = "same-origin", **fields: str) -> int:
    headers = {**PERSON, "Sec-Fetch-Site": site}
    data = {**token_of_browser(lists.client), **fields}
    answer = lists.client.post(f"{PREFIX}/views", data=data, headers=headers)
    lists.path = f"{PREFIX}/{answer.headers.get('Location', './jobs')[2:]}"
    return answer.status_code


def test_a_view_is_saved_opened_and_removed(lists: Lists) -> None:
    assert post(lists, name="Dead today", address="dead?last=24h") == 303
    assert lists.path == f"{PREFIX}/dead?last=24h"

    page = lists.open("jobs")
    assert links(page.find("#filter"))["Dead today"] == "./dead?last=24h"

    assert post(lists, remove="Dead today", address="jobs?queue=mail") == 303
    assert lists.path == f"{PREFIX}/jobs?queue=mail"
    assert "Dead today" not in lists.open("jobs").text


def test_the_form_names_the_list(lists: Lists) -> None:
    page = lists.open("dead?queue=mail&ask=save&after=5.id")

    form = page.find("#ask").find("form")
    fields = {each["name"]: each["value"] for each in form.all("input")}
    assert form["action"] == "./views"
    assert fields.pop("_token")
    assert fields == {"address": "dead?queue=mail", "name": ""}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "", "address": "dead"},
        {"name": "x", "address": "https://evil.example"},
        {"address": "dead"},
    ],
)
def test_a_view_needs_a_name_and_a_list(lists: Lists, fields: dict[str, str]) -> None:
    assert post(lists, **fields) == 400


@pytest.mark.parametrize("token", ["", "0" * 32])
def test_a_view_needs_the_token_of_its_page(lists: Lists, token: str) -> None:
    assert post(lists, name="x", address="dead", _token=token) == 403


def test_no_other_site_saves_a_view(lists: Lists) -> None:
    assert post(lists, site="cross-site", name="x", address="dead") == 403
