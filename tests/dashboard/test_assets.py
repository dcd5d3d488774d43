"""Static files: kept for a year by their fingerprint, and no other file is sent."""

from __future__ import annotations

import gzip
import re

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.routes import DATA_POLICY
from flask_forge_jobs.dashboard.assets import KEPT, NOT_KEPT, address_of, assets
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
    assert len(gzip.compress(sheet.data)) < 10_000
    # Nothing of another server, and nothing that a policy would have to allow.
    addresses = re.findall(r"url\(([^)]*)\)", sheet.text)
    assert addresses == [f'"{address_of("icons.svg").removeprefix("static/")}"']
    assert not re.search(r"@import|//|@icons|@sheet", sheet.text)


def test_the_script_is_one_and_small(client: FlaskClient) -> None:
    script = client.get(f"{PREFIX}/{address_of('dashboard.js')}")

    assert script.content_type == "text/javascript; charset=utf-8"
    assert len(script.data) < 12_000
    assert len(gzip.compress(script.data)) < 5_000
    # And one for the pages of applications.
    scripts = {name for name in assets() if name.endswith(".js")}
    assert scripts == {"dashboard.js", "progress.js"}
    assert len(assets()["progress.js"].body) < 2_500
    assert script.text.startswith('"use strict";')
    for forbidden in ("innerHTML", "eval(", "insertAdjacentHTML", "document.write"):
        assert forbidden not in script.text


@pytest.mark.parametrize(
    "name", ["none.css", "..%2Fpage.py", "../page.py", "%2e%2e/assets.py", ""]
)
def test_no_other_file_is_sent(client: FlaskClient, name: str) -> None:
    assert client.get(f"{PREFIX}/static/{name}").status_code == 404
