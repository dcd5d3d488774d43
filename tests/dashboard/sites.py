"""Applications with one more page, and the requests of people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import DictLoader
from werkzeug.test import TestResponse

from flask_forge_jobs import blueprint as blueprint_module
from flask_forge_jobs import edge
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.table import page_routes
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount

# The browser's own, shortened.
PERSON = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
UNASKED = faulty_storage(AssertionError("the storage was asked"))
Show = Callable[..., Mapping[str, object]]


def open_page(client: FlaskClient, path: str = f"{PREFIX}/") -> TestResponse:
    """Open a page as a browser does."""
    return client.get(path, headers=PERSON)


def with_page(
    monkeypatch: pytest.MonkeyPatch,
    template: str,
    show: Show,
    path: str = "/try",
    *,
    app: Flask | None = None,
    storage: Storage = UNASKED,
    principal: Principal | bool = True,
    options: Mapping[str, Any] | None = None,
    **more: Any,
) -> FlaskClient:
    """Return a client of an application with a page that a function shows.

    ``options`` are those of the blueprint, ``more`` those of the page.
    """
    others = [route for route in page_routes() if route.path != path]
    pages = (*others, page(path, show, **more))
    addresses = [each.address for each in pages]
    for module in (blueprint_module, edge):
        monkeypatch.setattr(module, "page_addresses", lambda **_: addresses)
    monkeypatch.setattr(edge, "page_routes", lambda: pages)
    host = app or Flask("host")
    name = f"forge_jobs/{show.__name__}.html"
    host.jinja_loader = DictLoader({name: template})
    given = {"authenticator": lambda _: principal, **(options or {})}
    chosen = BlueprintOptions(**given)
    return mount(storage, chosen, app=host, testing=False)
