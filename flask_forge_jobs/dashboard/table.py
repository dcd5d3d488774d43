"""The pages: the address of each, and the modules in ``pages`` behind them.

An application knows the addresses from its start. The modules are imported at the first
request for one of them, because workers and commands never need any.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from flask_forge_jobs.api.addresses import INDEX_PATH, JOB_PAGE_PATH, V1_PREFIX, Address

if TYPE_CHECKING:
    from flask_forge_jobs.api.routes import Route


_ADDRESSES = (
    Address("GET", "/static/<name>", "static_file"),
    Address("POST", "/preferences", "preferences"),
    Address("GET", "/sign-in", "session_sign_in"),
    Address("POST", "/sign-in", "session_enter"),
    Address("GET", "/sign-out", "session_sign_out"),
    Address("POST", "/sign-out", "session_leave"),
    Address("GET", "/jobs.csv", "jobs_csv"),
    Address("GET", "/jobs.json", "jobs_json"),
    Address("POST", "/views", "save_view"),
    Address("GET", "/audit", "page_audit"),
    Address("GET", "/batches", "page_batches"),
    Address("GET", "/batches/<batch_id>", "page_batch"),
    Address("GET", "/bulk", "page_bulk"),
    Address("GET", "/bulk/<run_id>", "page_bulk_run"),
    Address("GET", "/skipped", "page_skipped"),
    Address("GET", "/cron", "page_cron"),
    Address("GET", "/cron/<name>", "page_schedule"),
    Address("GET", "/errors", "page_errors"),
    Address("GET", "/find", "page_find"),
    Address("GET", "/", "page_index"),
    Address("GET", "/about", "page_about"),
    Address("GET", JOB_PAGE_PATH, "page_job"),
    Address("GET", f"{V1_PREFIX}/job-status/<token>", "page_job_status"),
    Address("GET", "/jobs", "page_jobs"),
    Address("POST", "/jobs", "page_jobs_ask"),
    Address("GET", "/scheduled", "page_scheduled"),
    Address("POST", "/scheduled", "page_scheduled_ask"),
    Address("GET", "/retries", "page_retries"),
    Address("POST", "/retries", "page_retries_ask"),
    Address("GET", "/dead", "page_dead"),
    Address("POST", "/dead", "page_dead_ask"),
    Address("GET", "/kinds", "page_kinds"),
    Address("GET", "/limits", "page_limits"),
    Address("GET", "/queues/<name>", "page_queue"),
    Address("GET", "/queues", "page_queues"),
    Address("GET", "/system", "page_system"),
    Address("GET", "/tail", "page_tail"),
    Address("GET", "/workers", "page_workers"),
    Address("GET", "/workers/<worker_id>", "page_worker"),
)


def page_addresses(*, dashboard: bool) -> Sequence[Address]:
    """Return the address of every page; without a dashboard, that of the links."""
    if dashboard:
        return _ADDRESSES
    return [each for each in _ADDRESSES if each.path == INDEX_PATH]


def link_routes() -> Sequence[Route]:
    """Return the routes of a blueprint without pages: the links for programs."""
    from flask_forge_jobs.dashboard.pages.index import LINKS_ONLY

    return (LINKS_ONLY,)


@cache
def page_routes() -> Sequence[Route]:
    """Return the routes of every page and of the static files."""
    from flask_forge_jobs.dashboard import assets, pages, preferences
    from flask_forge_jobs.dashboard.forms import sign_in
    from flask_forge_jobs.dashboard.jobs import export, saved_views

    names = [module.name for module in iter_modules(pages.__path__)]
    modules = [import_module(f"{pages.__name__}.{name}") for name in sorted(names)]
    own = [
        route
        for each in (assets, preferences, sign_in, export, saved_views)
        for route in each.ROUTES
    ]
    return (*own, *(route for each in modules for route in each.ROUTES))
