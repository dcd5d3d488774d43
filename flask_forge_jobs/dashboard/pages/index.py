"""The index: the page at the mount point, for callers and for strangers.

A stranger reads how to sign in and nothing else. A caller with the permission ``read``
sees the overview, or the health of a service whose database cannot be read. Every other
caller gets only the links that it may open. Programs, which do not ask for a page, get
links and need no credentials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from flask import Response, request
from werkzeug.exceptions import ServiceUnavailable, Unauthorized

from flask_forge_jobs.api.addresses import INDEX_PATH
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.request import prefers_page, present_state
from flask_forge_jobs.api.response import json_response
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.callers import caller_of
from flask_forge_jobs.dashboard.health import in_words, needs_of
from flask_forge_jobs.dashboard.overview.view import BLOCKS, Overview
from flask_forge_jobs.dashboard.page import page, render
from flask_forge_jobs.dashboard.reads import report_of
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.handlers.attention.report import counts_of
from flask_forge_jobs.handlers.readiness import readiness

NAME = "flask-forge-jobs"
ABOUT_PATH = "/about"
# A person waits for this page.
LIMIT_S = 1.0
# For programs.
_PROGRAM_LINKS: Mapping[str, str] = {
    "health": "health",
    "readiness": "v1/health/ready",
    "queues": "v1/queues",
    "jobs": "v1/jobs",
    "metrics": "metrics",
    "description": "v1/openapi.json",
}
# Name and words of each linked route, by endpoint.
_LINKS: Mapping[str, tuple[str, str]] = {
    "v1_queues": ("Queues", "Settings, counts and slots of each queue"),
    "v1_jobs_find": ("Jobs", "The newest jobs; finds them by status, queue and kind"),
    "v1_errors": ("Errors", "Failed and dead jobs, grouped by error"),
    "v1_events": ("Events", "The latest events of jobs"),
    "v1_queue_workers": ("Workers", "Live workers, and queues that none serves"),
    "v1_cron_list": ("Schedules", "Cron schedules and their next start"),
    "v1_rate_limits": ("Limits", "Rate limits and their tokens"),
    "metrics": ("Metrics", "Counters and gauges for Prometheus"),
    "v1_storage_info": ("Storage", "The database and its settings"),
    "v1_audit": ("Audit trail", "Every change and its author"),
    "v1_ready": ("Readiness", "Health for load balancers; 503 if it is bad"),
    "health": ("Liveness", "Says ok while the process lives"),
    "v1_openapi": ("Description", "Every route, as OpenAPI"),
}


@dataclass(frozen=True, slots=True)
class Link:
    """A link that is open to the caller; ``path`` is below the mount point."""

    name: str
    words: str
    path: str


@dataclass(frozen=True, slots=True)
class Count:
    """A number of jobs, and the list that it counts."""

    name: str
    number: int
    path: str


def index(api: Api) -> Mapping[str, object] | Response:
    """Show the health of the service, its caller and links; programs get links."""
    if not prefers_page(request):
        return links_for_programs(api)
    may_read = present_state().may(Permission.READ)
    if may_read and (shown := _overview(api)) is not None:
        values = {"shown": shown, "query": shown.query, "counted": shown.counted}
        return render(api, "overview", values)
    if "only" in request.args:
        # An open overview, whose caller is signed out, or whose database is away.
        raise Unauthorized if not may_read else ServiceUnavailable
    return about(api)


def about(api: Api) -> Response:
    """Show the health of the service, the caller and its rights, and its links."""
    state = present_state()
    may_read = state.may(Permission.READ)
    health = None
    # A refresh asks for blocks of the frame.
    is_read = may_read and "only" not in request.args
    if is_read:
        queues = api.scope.queues
        ready = readiness(api.storage, queues, limit_s=LIMIT_S)
        health = in_words(ready, *needs_of(api))
    is_away = health is not None and health.is_away
    shown = {
        "health": health,
        "counts": _counts(api) if is_read and not is_away else (),
        "version": version(NAME) if may_read else None,
        "signed_in": caller_of(state),
        "links": _links(api),
        "door": _door(api.options),
        "api": _here(),
    }
    return render(api, "index", shown)


def _here() -> str:
    """Return the address of the mount point, without a slash at its end."""
    path = request.path.rstrip("/")
    if present_state().route.path == ABOUT_PATH:
        path = path.removesuffix(ABOUT_PATH)
    return f"{request.script_root}{path}"


def _overview(api: Api) -> Overview | None:
    """Return the overview of a reader; None if the database cannot be read."""
    shown = Overview(api)
    try:
        return shown if shown.report.is_read else None
    except StorageError:
        return None


def links_for_programs(_api: Api) -> Response:
    """Return the addresses that programs begin with."""
    here = _here()
    links = {name: f"{here}/{path}" for name, path in _PROGRAM_LINKS.items()}
    response = json_response({"name": NAME, "links": links})
    response.vary.add("Accept")
    return response


def _links(api: Api) -> Sequence[Link]:
    routes = {route.endpoint: route for route in api.routes}
    return [
        Link(name, words, routes[endpoint].path.removeprefix("/"))
        for endpoint, (name, words) in _LINKS.items()
        if api.may_open(routes[endpoint])
    ]


def _counts(api: Api) -> Sequence[Count]:
    """Return the jobs by state, as the bar at the top counts them."""
    try:
        counts = counts_of(report_of(api).queues)
    except StorageError:
        return ()
    return [
        Count(name, number, f"v1/jobs?status={status}")
        for name, number, status in (
            ("Waiting or scheduled", counts.pending + counts.scheduled, "pending"),
            ("In progress", counts.in_progress, "in_progress"),
            ("Retrying", counts.failed, "failed"),
            ("Done", counts.done, "done"),
            ("Dead", counts.dead, "dead"),
        )
    ]


def _door(options: BlueprintOptions) -> str:
    """Return the way in: ``login``, ``tokens``, ``both`` or ``closed``."""
    if options.authenticator is None:
        return "closed" if options.tokens is None else "tokens"
    return "login" if options.tokens is None else "both"


# Where no pages are served.
LINKS_ONLY = Route(
    method="GET", path=INDEX_PATH, endpoint="page_index", view=links_for_programs,
    permission=None,
)  # fmt: skip
ROUTES = (
    page(
        INDEX_PATH, index, permission=None, knows_caller=True, blocks=tuple(BLOCKS),
        nav="Overview", icon="overview", order=10, key="o",
    ),
    page(ABOUT_PATH, about, permission=None, knows_caller=True),
)  # fmt: skip
