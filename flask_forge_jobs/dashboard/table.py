"""The table of all pages, made of the modules in ``pages``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.dashboard import assets, pages, preferences
from flask_forge_jobs.dashboard.forms import sign_in
from flask_forge_jobs.dashboard.jobs import export, saved_views


def page_routes() -> Sequence[Route]:
    """Return the routes of every page and of the static files."""
    names = [module.name for module in iter_modules(pages.__path__)]
    modules = [import_module(f"{pages.__name__}.{name}") for name in sorted(names)]
    own = [
        route
        for each in (assets, preferences, sign_in, export, saved_views)
        for route in each.ROUTES
    ]
    return (*own, *(route for each in modules for route in each.ROUTES))


def routes_without_pages() -> Sequence[Route]:
    """Return the routes of a blueprint that serves no pages: the links for programs."""
    from flask_forge_jobs.dashboard.pages.index import LINKS_ONLY

    return (LINKS_ONLY,)
