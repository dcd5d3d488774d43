"""Static files: kept for a year by their fingerprint, and no other file is sent."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.routes import DATA_POLICY
from flask_forge_jobs.dashboard.assets import (
    KEPT,
    NOT_KEPT,
    address_of,
    assets,
    packed,
)
from tests.api.mounting import PREFIX, mount
from tests.dashboard.sites import UNASKED


@pytest.fixture
def client() -> FlaskClient:
    """A client of an application that lets nobody in."""
    return mount(UNASKED, testing=False)


@pytest.mark.parametrize("name", sorted(assets()))
def test_a_file_is_kept_by_its_fingerprint(client: FlaskClient, name: str) -> None:
    address = f"{PREFIX}/{address_of(name)}"

    current = client.get(address)
    other = client.get(address[:-1] + "x")
    known = {"If-None-Match": other.headers["ETag"]}
    again = client.get(address, headers=known)

    assert re.fullmatch(rf"static/{name}\?v=[0-9a-f]{{16}}", address_of(name))
    assert current.data == other.data == assets()[name].body
    assert current.headers["Cache-Control"] == KEPT
    assert other.headers["Cache-Control"] == NOT_KEPT
    assert current.headers["X-Content-Type-Options"] == "nosniff"
    assert current.headers["Content-Security-Policy"] == DATA_POLICY
    assert (again.status_code, again.data) == (304, b"")


def test_the_style_sheet_is_one_and_small(client: FlaskClient) -> None:
    sheet = client.get(f"{PREFIX}/{address_of('dashboard.css')}")

    assert sheet.content_type == "text/css; charset=utf-8"
    assert len(sheet.data) < 40_000
    # Nothing of another server, and nothing that a policy would have to allow.
    assert not re.search(
        r"url\((?!\"data:image/svg)|@import|//(?!www\.w3\.org/2000/svg')[a-z]",
        sheet.text,
    )


def test_all_icons_are_one_picture(client: FlaskClient) -> None:
    sheet = client.get(f"{PREFIX}/{address_of('dashboard.css')}").text

    assert sheet.count("data:image/svg+xml") == 1
    places = [int(place) for place in re.findall(r"\.i-[a-z-]+\{--n:(\d+)\}", sheet)]
    last = re.search(r"--last:(\d+)", sheet)
    assert last is not None
    assert len(places) > max(places) == int(last[1]) == sheet.count("<path") - 1


def test_a_sheet_is_packed_and_keeps_its_strings() -> None:
    sheet = """
a > b :hover { margin: 1px 2px; content: "a : b; { c }"; }
@media (max-width: 10px) { c, d { color: calc(1px - 2px); } }
"""

    assert packed(sheet).strip() == (
        'a > b :hover{margin:1px 2px;content:"a : b; { c }"}'
        "@media (max-width:10px){c,d{color:calc(1px - 2px)}}"
    )


@pytest.mark.parametrize(
    "name", ["none.css", "..%2Fpage.py", "../page.py", "%2e%2e/assets.py", ""]
)
def test_no_other_file_is_sent(client: FlaskClient, name: str) -> None:
    assert client.get(f"{PREFIX}/static/{name}").status_code == 404
