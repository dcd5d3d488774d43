"""Every page is served, described nowhere, and keeps the rules for pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flask_forge_jobs.dashboard
from flask_forge_jobs.api.addresses import INDEX_PATH
from flask_forge_jobs.api.openapi.document import document
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.page_route import PAGE_POLICY, PageRoute
from flask_forge_jobs.dashboard.table import page_addresses, page_routes
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.dashboard.sites import open_page
from tests.support.backends import on_sqlite

FOLDER = Path(flask_forge_jobs.dashboard.__file__).parent
TEMPLATES = sorted(FOLDER.glob("templates/forge_jobs/*.html"))
PAGES = [route for route in page_routes() if isinstance(route, PageRoute)]
# At the address of a route of the API; see pages/test_job_status.py.
TWINS = {"/cron", "/v1/job-status/<token>"}
SESSION = {f"session_{name}" for name in ("sign_in", "enter", "sign_out", "leave")}
OPEN = {
    "page_index", "page_about", "page_job_status", "static_file", "preferences",
    "save_view",
} | SESSION  # fmt: skip
# Scripts, inline styles, foreign addresses, and ways around escaping.
FORBIDDEN = re.compile(
    r"<script(?! src=\"\{\{ (asset|url_for)\()|<style|\bstyle=|\bon[a-z]+=|javascript:|\|\s*safe|https?://(?!<i>)",
    re.IGNORECASE,
)
TEMPLATE_LINES = 200


def test_every_address_is_that_of_a_route() -> None:
    routes = page_routes()

    assert sorted(page_addresses(dashboard=True)) == sorted(
        route.address for route in routes
    )
    # One that did would need the audit trail.
    assert not any(route.mutates for route in routes)


def test_a_page_is_its_function_its_template_and_its_test() -> None:
    """A page costs three files, and the line of its address."""
    modules = {path.stem for path in FOLDER.glob("pages/*.py")} - {"__init__"}
    tests = Path(__file__).parent.glob("pages/test_*.py")

    assert {route.view.__module__.rpartition(".")[2] for route in PAGES} == modules
    # The former index is a page of its own, for readers.
    assert {route.endpoint.removeprefix("page_") for route in PAGES} - {"about"} <= {
        path.stem for path in TEMPLATES
    }
    # The index shows the overview to readers.
    tested = {path.stem.removeprefix("test_") for path in tests} - {"overview"}
    assert tested == modules


def test_pages_are_not_in_the_description() -> None:
    described = document(all_routes(enable_demo=True))["paths"]

    # A program gets JSON at the address of this page.
    assert {route.path for route in page_routes()} & set(described) == {"/cron"}
    assert "/health" in described


def test_the_served_description_has_no_page(storage: Storage) -> None:
    served = mount(storage).get(f"{PREFIX}/v1/openapi.json").json

    assert served is not None
    assert not [path for path in served["paths"] if "static" in path or path == "/"]


def test_paths_and_endpoints_are_not_those_of_the_api() -> None:
    api = all_routes(enable_demo=True)

    for key, shared in (("endpoint", set()), ("path", TWINS)):
        both = {getattr(route, key) for route in api}
        assert both & {getattr(route, key) for route in page_routes()} <= shared


def test_only_these_pages_are_open_to_strangers() -> None:
    opened = {route.endpoint for route in page_routes() if route.permission is None}

    assert opened == OPEN
    assert all(isinstance(each.permission, Permission | None) for each in PAGES)


@on_sqlite
@pytest.mark.parametrize(
    "route",
    [route for route in PAGES if "<" not in route.path],
    ids=lambda route: str(route.endpoint),
)
def test_sec_S17_a_page_has_the_policy_of_its_route(
    storage: Storage, route: Route
) -> None:
    answer = open_page(mount(storage), PREFIX + route.path)

    # No job has the name of its placeholder.
    assert answer.status_code == (404 if "<" in route.path else 200)
    assert answer.headers["Content-Security-Policy"] == route.policy
    assert "unsafe" not in route.policy
    assert "default-src 'none'" in route.policy
    assert "frame-ancestors 'none'" in route.policy


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.stem))
def test_sec_S17_no_template_has_a_script_or_a_style_of_its_own(path: Path) -> None:
    text = path.read_text("utf-8")

    assert FORBIDDEN.findall(text) == []
    assert text.count("\n") <= TEMPLATE_LINES


@pytest.mark.parametrize(
    "text",
    [
        "<script src=x>", "<p style=color:red>", "<a onclick=x>", "{{ said | safe }}",
        '<a href="javascript:x">', '<img src="https://cdn.example/x">',
    ],
)  # fmt: skip
def test_the_check_of_templates_can_fail(text: str) -> None:
    assert FORBIDDEN.search(text)


def test_the_index_is_the_mount_point() -> None:
    (index,) = (route for route in PAGES if route.path == INDEX_PATH)

    assert (index.endpoint, index.policy) == ("page_index", PAGE_POLICY)
