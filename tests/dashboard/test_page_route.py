"""The route of a page: its place in the navigation and its blocks."""

from __future__ import annotations

import re

from flask_forge_jobs.dashboard.assets import assets
from flask_forge_jobs.dashboard.page_route import PageRoute
from flask_forge_jobs.dashboard.table import page_routes

PAGES = [route for route in page_routes() if isinstance(route, PageRoute)]


def test_entries_differ_in_place_and_key() -> None:
    named = [route for route in PAGES if route.nav]
    keys = [route.key for route in named if route.key]

    assert len({route.order for route in named}) == len(named)
    assert len(set(keys)) == len(keys)


def test_each_entry_has_an_icon_of_the_sheet() -> None:
    icons = set(re.findall(r"\.i-([a-z-]+)\{", assets()["dashboard.css"].body.decode()))

    assert {route.icon for route in PAGES if route.nav} <= icons
