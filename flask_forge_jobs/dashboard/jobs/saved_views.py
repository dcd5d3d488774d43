"""Saved views: names for addresses of lists, in a cookie of the browser.

An address is read and written again before it becomes a link, so a cookie from anywhere
leads nowhere else.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from flask import Response, current_app, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.forms import TOKEN_FIELD, first, read_form
from flask_forge_jobs.api.routes import PAGE_CONTENT_TYPE, Route
from flask_forge_jobs.auth.csrf import check_same_site, keep_cookie
from flask_forge_jobs.dashboard.jobs.listings import LISTINGS
from flask_forge_jobs.dashboard.jobs.query import query_of

COOKIE = "forge_jobs_views"
MAX_VIEWS = 12
MAX_NAME_LENGTH = 40
MAX_ADDRESS_LENGTH = 600
# Browsers keep 4,096 bytes of a cookie.
MAX_COOKIE_LENGTH = 3800
# Of a stranger's form.
MAX_BYTES = 16_384
_KEPT_S = 365 * 86_400
_LISTINGS = {listing.path: listing for listing in LISTINGS}


@dataclass(frozen=True, slots=True)
class SavedView:
    """A name and the address of a list below the mount point."""

    name: str
    address: str


def views_in(cookie: str | None) -> Sequence[SavedView]:
    """Return the saved views of a browser, in the order of their names."""
    try:
        pairs = json.loads(urlsafe_b64decode((cookie or "").encode("ascii")))
        views = [_view(name, address) for name, address in pairs]
    except (ValueError, TypeError, RecursionError):
        return ()
    known = {view.name: view for view in views if view is not None}
    return [known[name] for name in sorted(known)][:MAX_VIEWS]


def _view(name: object, address: object) -> SavedView | None:
    if not isinstance(name, str) or not isinstance(address, str):
        return None
    shown = " ".join(name.split())[:MAX_NAME_LENGTH].strip()
    path, _, query = address[:MAX_ADDRESS_LENGTH].partition("?")
    if not shown or not shown.isprintable() or path not in _LISTINGS:
        return None
    arguments = MultiDict(parse_qsl(query))
    return SavedView(shown, query_of(_LISTINGS[path], arguments).address())


def with_view(views: Sequence[SavedView], name: str, address: str) -> str | None:
    """Return the cookie with one more view; one of the same name is replaced.

    None means that there is no room, or that the name or the address is invalid.
    """
    added = _view(name, address)
    if added is None or len(address) > MAX_ADDRESS_LENGTH:
        return None
    kept = [view for view in views if view.name != added.name]
    cookie = _written([*kept, added])
    is_full = len(kept) >= MAX_VIEWS or len(cookie) > MAX_COOKIE_LENGTH
    return None if is_full else cookie


def without_view(views: Sequence[SavedView], name: str) -> str:
    """Return the cookie without a view."""
    return _written([view for view in views if view.name != name])


def _written(views: Sequence[SavedView]) -> str:
    text = json.dumps(
        [[view.name, view.address] for view in views], separators=(",", ":")
    )
    return urlsafe_b64encode(text.encode()).decode()


def save_view(api: Api) -> Response:
    """Save or remove a view, and go to the list."""
    check_same_site(request)
    views = views_in(request.cookies.get(COOKIE))
    form = read_form(request, MAX_BYTES)
    api.form_tokens.check(current_app, request, "", first(form, TOKEN_FIELD))
    address = first(form, "address")
    cookie = (
        without_view(views, first(form, "remove"))
        if "remove" in form
        else with_view(views, first(form, "name"), address)
    )
    if cookie is None:
        raise BadRequest(
            f"a view needs a name and a filter, and a browser keeps {MAX_VIEWS} views; "
            "remove one"
        )
    # Canonical, so that a form from elsewhere leads nowhere else.
    back = views_in(with_view((), "back", address))
    response = Response(status=303)
    response.headers["Location"] = f"./{back[0].address if back else 'jobs'}"
    # Without a path: the browser keeps it for the mount point as it sees it.
    keep_cookie(request, response, COOKIE, cookie, max_age=_KEPT_S, path=None)
    return response


ROUTES = (
    Route(
        method="POST", path="/views", endpoint="save_view", view=save_view,
        permission=None, content_type=PAGE_CONTENT_TYPE,
    ),
)  # fmt: skip
