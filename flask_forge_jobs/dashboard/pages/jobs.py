"""The lists of jobs: all of them, and those scheduled, retrying or dead."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper

from flask import Response, request
from werkzeug.datastructures import MultiDict

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import Problem
from flask_forge_jobs.api.forms import first
from flask_forge_jobs.api.request import present_state
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.dashboard.job.view import Choice, JobView
from flask_forge_jobs.dashboard.jobs.filter_text import job_id_in, parameters_of
from flask_forge_jobs.dashboard.jobs.headlines import by_state
from flask_forge_jobs.dashboard.jobs.listings import (
    DEAD_JOBS,
    JOBS,
    LISTINGS,
    RETRIES,
    SCHEDULED_JOBS,
    Listing,
)
from flask_forge_jobs.dashboard.jobs.query import query_of
from flask_forge_jobs.dashboard.jobs.reading import JobList, may_now
from flask_forge_jobs.dashboard.jobs.saved_views import COOKIE, views_in
from flask_forge_jobs.dashboard.jobs.view import Asked, ListView
from flask_forge_jobs.dashboard.page import page, reason_of, render, titled
from flask_forge_jobs.dashboard.reads import read_beside_report
from flask_forge_jobs.errors import JobNotFoundError

BLOCKS = ("total", "tabs", "bulk", "rows", "foot")
# Set by the forms of the filter, whose fields may be empty or hold qualifiers.
TEXT_FIELD, FORM_FIELD = "add", "filter"
_SEE_OTHER = 303
Routes = tuple[Route, ...]


def jobs(api: Api) -> Response:
    """Show all jobs."""
    return _show(api, JOBS)


def scheduled(api: Api) -> Response:
    """Show the jobs that wait for their time."""
    return _show(api, SCHEDULED_JOBS)


def retries(api: Api) -> Response:
    """Show the jobs that wait for another try."""
    return _show(api, RETRIES)


def dead(api: Api) -> Response:
    """Show the jobs that were given up or cancelled."""
    return _show(api, DEAD_JOBS)


def _show(api: Api, listing: Listing) -> Response:
    if TEXT_FIELD in request.args or FORM_FIELD in request.args:
        return _filtered(api, listing)
    args = request.args
    is_all = args.get("all") == "1"
    asked = Asked(is_all=is_all, verb=args.get("ask"), job=_beside(api))
    return _rendered(api, listing, asked)


def _beside(api: Api) -> JobView | None:
    """Return the job that the address opens beside the list; None if it is gone."""
    job_id = request.args.get("job")
    # A refresh of the rows behind it does not read it again.
    is_shown = "ask" in request.args.get("only", "ask").split(",")
    if job_id is None or not is_shown:
        return None
    try:
        return JobView(api, job_id, Choice())
    except JobNotFoundError:
        return None


def _ask(listing: Listing, api: Api) -> Response:
    """Show a list with a question about its ticked rows, or about one job."""
    form = present_state().form or {}
    # A button of one job has its action and its mark in one value.
    verb, _, mark = first(form, "_one").partition(" ")
    asked = Asked(
        ticked=[mark] if mark else form.get("_id", ()),
        verb=verb or first(form, "_ask") or None,
    )
    return _rendered(api, listing, asked)


def _rendered(api: Api, listing: Listing, asked: Asked) -> Response:
    query = query_of(listing, request.args)
    saved = views_in(request.cookies.get(COOKIE))
    listed = JobList(api, query)
    if "rows" in request.args.get("only", "rows").split(","):
        read_beside_report(api, listed.read)
    view = ListView(listed, may_now(api), asked, saved)
    kept: dict[str, list[str]] = {}
    for name, value in query.pairs():
        kept.setdefault(name, []).append(value)
    counted = partial(by_state, listed)
    return render(api, listing.path, {"view": view, "query": kept, "counted": counted})


class _Unread(JobList):
    """A list of which nothing can be read."""

    known_queues = known_kinds = ()


def _unread(listing: Listing, api: Api, problem: Problem) -> Response:
    """Show the filter of a list whose jobs cannot be read."""
    query = query_of(listing, request.args)
    saved = views_in(request.cookies.get(COOKIE))
    view = ListView(_Unread(api, query), may_now(api), saved=saved)
    reason = reason_of(problem)
    shown = {"view": view, "title": titled(problem), "reason": reason}
    return render(api, "unread", shown, problem.status)


def _filtered(api: Api, listing: Listing) -> Response:
    """Redirect from a form of the filter to the address of the list."""
    text = request.args.get(TEXT_FIELD, "")
    job_id = job_id_in(text)
    if job_id is not None:
        return _to(f"jobs/{job_id}")
    named = JobList(api, query_of(listing, MultiDict()))
    more = parameters_of(text, queues=named.known_queues, kinds=named.known_kinds)
    given = [(name, text) for name, text in request.args.items(multi=True) if text]
    # Of a name with one value the first counts.
    parameters = MultiDict([*more, *given])
    return _to(query_of(listing, parameters).address())


def _to(address: str) -> Response:
    response = Response(status=_SEE_OTHER)
    response.headers["Location"] = f"./{address}"
    return response


def _routes(show: Callable[[Api], Response], listing: Listing, key: str) -> Routes:
    """Return the route of a list, and that of the forms around its rows."""
    path = f"/{listing.path}"
    shown = page(
        path, show, blocks=BLOCKS, reach=Reach.VIEW, nav=listing.title,
        icon=listing.path, order=11 + LISTINGS.index(listing), key=key,
        unread=partial(_unread, listing),
    )  # fmt: skip
    asking = Route(
        method="POST",
        path=path,
        endpoint=f"{shown.endpoint}_ask",
        view=update_wrapper(partial(_ask, listing), _ask),
        permission=shown.permission,
        reach=Reach.VIEW,
        is_form=True,
        content_type=shown.content_type,
        policy=shown.policy,
    )
    return shown, asking


ROUTES = (
    *_routes(jobs, JOBS, "j"),
    *_routes(scheduled, SCHEDULED_JOBS, "s"),
    *_routes(retries, RETRIES, "r"),
    *_routes(dead, DEAD_JOBS, "d"),
)
