"""Pages: a function each, and the template of the same name that shows its result.

As with every blueprint, a file of the application under ``templates/forge_jobs``
replaces ours. Our templates escape everything and refuse undefined names, independently
of the application's own settings.

A page is refreshed in parts: its ``blocks`` are blocks of its template, each with one
root element whose ``id`` is the block's name, and ``?only=x,y`` answers just these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, update_wrapper
from http import HTTPStatus
from typing import Any, cast

from flask import Response, g

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import Problem
from flask_forge_jobs.api.request import RequestState, present_state
from flask_forge_jobs.api.routes import PAGE_CONTENT_TYPE, Route
from flask_forge_jobs.api.scope import CLUSTER_MESSAGE
from flask_forge_jobs.auth.csrf import SAFE_METHODS
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard import live
from flask_forge_jobs.dashboard.environment import FRAME, environment
from flask_forge_jobs.dashboard.frame import FRAME_BLOCKS, Counted, Frame
from flask_forge_jobs.dashboard.page_route import PAGE_POLICY, PageRoute

# Takes the Api and the placeholders of the path.
PageFunction = Callable[..., Mapping[str, object] | Response]
_TITLES: Mapping[str, str] = {
    "unauthorized": "You are not signed in",
    "forbidden": "You may not see this page",
    "not_found": "There is no such page",
    "method_not_allowed": "This address takes other requests",
    "rate_limited": "Too many requests",
    "unavailable": "The database does not answer",
    "validation": "This address is not right",
}

# Of a status link, whose holder knows no other page.
LINK_GONE = "This link is invalid or has expired, or its job is gone."

# In place of words that repeat the title, or that are for programs.
_REASONS: Mapping[str, str] = {
    "unavailable": "Stored jobs are kept. Try again in a moment.",
    CLUSTER_MESSAGE: "It is about all queues, and you may see some of them only.",
    f"this needs the permission {Permission.ADMIN}": "Only the role admin may see it.",
}
_GONE = "It was removed, or the address has a mistake."
_GONE_OR_HIDDEN = (
    "It was removed, it is not of your queues, or the address has a mistake."
)
_LOST: Mapping[int, str] = {
    404: "nothing has this address",
    405: "this address takes other methods",
}


def page(
    path: str,
    show: PageFunction,
    *,
    permission: Permission | None = Permission.READ,
    policy: str = PAGE_POLICY,
    blocks: Sequence[str] = (),
    **more: Any,
) -> PageRoute:
    """Return the route of a page.

    Args:
        path: Its address below the mount point.
        show: Returns the values for the template
            ``forge_jobs/<name of the function>.html``. A value ``query`` holds the
            parameters that links back to the page keep; a function ``counted`` returns
            the caller's jobs by state, as far as the page counts them.
        permission: The permission that a caller needs; None opens it to everybody.
        policy: Its ``Content-Security-Policy``.
        blocks: The blocks of the template that can be asked for alone.
        more: Further fields of :class:`PageRoute`, such as ``nav``, ``icon`` and
            ``order``, or ``reach``.
    """
    return PageRoute(
        method="GET",
        path=path,
        endpoint=f"page_{show.__name__}",
        view=update_wrapper(partial(_view, show), show),
        permission=permission,
        content_type=PAGE_CONTENT_TYPE,
        policy=policy,
        blocks=tuple(blocks),
        **more,
    )


def _view(show: PageFunction, api: Api, **placeholders: str) -> Response:
    state = present_state()
    if isinstance(state.route, PageRoute) and live.wants_stream(state):
        return live.stream(api)
    shown = show(api, **placeholders)
    return shown if isinstance(shown, Response) else render(api, show.__name__, shown)


def problem_page(api: Api, problem: Problem) -> Response:
    """Return an error as a page, if need be as the page that was asked for."""
    state = present_state()
    route, caller = state.route, state.principal
    is_limited = caller is not None and caller.queues is not None
    is_away = problem.status == HTTPStatus.SERVICE_UNAVAILABLE
    if is_away and isinstance(route, PageRoute) and route.unread is not None:
        return route.unread(api, problem)
    shown = {
        "title": _title_of(state, problem),
        "reason": reason_of(problem, is_limited=is_limited),
        "problem": problem,
        "up": _list_of(route),
        "noun": route.noun if isinstance(route, PageRoute) else "",
        "thing": _last_part(state) if route.path.endswith(">") else "",
        # The holder of a link to a job is rarely a user of these pages.
        "leads_home": route.permission is not None or route.knows_caller,
    }
    return render(api, "problem", shown, problem.status)


def _title_of(state: RequestState, problem: Problem) -> str:
    # The address of a sent form is right; perhaps the application has refused it.
    is_refused = problem.kind in {"forbidden", "validation"}
    if is_refused and state.request.method not in SAFE_METHODS:
        return "This was not done"
    return titled(problem)


def titled(problem: Problem) -> str:
    """Return an error as a title: of a missing thing, which one it is."""
    if _names_a_thing(problem):
        message = re.sub("'(.*)'", r"“\1”", problem.message)
        return f"{message[:1].upper()}{message[1:]}"
    if problem.message == LINK_GONE:
        return "This link does not work"
    return _TITLES.get(problem.kind, "Something went wrong")


def reason_of(problem: Problem, *, is_limited: bool = False) -> str:
    """Return in a sentence what the title of an error leaves open.

    ``is_limited`` says that the caller may see some queues only.
    """
    if _names_a_thing(problem):
        return _GONE_OR_HIDDEN if is_limited else _GONE
    message = problem.message
    words = _REASONS.get(problem.kind) or _REASONS.get(message)
    return words or f"{message[:1].upper()}{message[1:]}"


def _names_a_thing(problem: Problem) -> bool:
    """Whether an error is a NotFoundError, and no missing page of the framework."""
    is_named = problem.message.startswith(("no ", "there is no "))
    return problem.kind == "not_found" and is_named


def lost_route(path: str, environ: Mapping[str, Any]) -> PageRoute:
    """Return a route for a path below the mount point that has none.

    To a browser, an escaped slash is part of a name: one taken for a folder would lead
    the page's links, script and style sheet out of the mount point.
    """
    asked = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    escaped = asked.partition("?")[0].lower().count("%2f")
    known = "%2F".join(path.rsplit("/", escaped))
    return page(known, _nothing, permission=None, knows_caller=True)


def lost_page(api: Api, problem: Problem) -> Response:
    """Return an error as a page for the current request, which has a lost route."""
    # In place of the framework's words.
    words = _LOST.get(problem.status, problem.message)
    return problem_page(api, replace(problem, message=words))


def _nothing(_api: Api) -> Mapping[str, object]:
    return {}


def _list_of(route: Route) -> str | None:
    """Return the page that lists what a page shows one of; None if there is none."""
    listed, _, entry = route.path.removeprefix("/").partition("/<")
    return listed if entry and "/" not in listed else None


def _last_part(state: RequestState) -> str:
    return state.request.path.rpartition("/")[2]


def render(
    api: Api, name: str, shown: Mapping[str, object], status: int = 200
) -> Response:
    """Return a template filled with values, or the blocks of it that are asked for.

    Every template also knows ``frame``, ``root`` (the way from its page to the mount
    point), ``now``, ``request_id``, and the functions and filters of
    :mod:`flask_forge_jobs.dashboard.environment`.
    """
    state = present_state()
    # A page about a failure has no counts and no alarms, which may fail as well.
    frame = Frame(api, state, reads=status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND})
    frame.is_error = status >= HTTPStatus.BAD_REQUEST
    frame.query = cast("Mapping[str, object]", shown.get("query", frame.query))
    frame.counted = cast("Counted", shown.get("counted", frame.counted))
    setattr(g, FRAME, frame)
    text = (
        environment()
        .get_template(f"forge_jobs/{name}.html")
        .render(
            shown,
            frame=frame,
            root=frame.root,
            now=frame.now,
            # An error has none of the blocks of its route.
            only=None if frame.is_error else _asked(state.route, frame.only),
            request_id=state.id,
        )
    )
    response = Response(text, status, content_type=PAGE_CONTENT_TYPE)
    response.vary.update(("Accept", "Cookie"))
    return response


def _asked(route: Route, only: Sequence[str] | None) -> Sequence[str] | None:
    """Return the blocks to render, each once; None means the whole page."""
    if only is None or not isinstance(route, PageRoute):
        return None
    known = (*FRAME_BLOCKS, *route.blocks)
    return [name for name in known if name in only]
