"""What a browser remembers of its person: theme, refresh and times, in a cookie each.

The cookies have no path, so the browser keeps them for the mount point as it sees it,
also behind a proxy that strips a prefix.
"""

from __future__ import annotations

from typing import Final

from flask import Request, Response, current_app, request
from werkzeug.exceptions import BadRequest

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.forms import TOKEN_FIELD, first, read_form
from flask_forge_jobs.api.request import prefers_page
from flask_forge_jobs.api.response import empty_response
from flask_forge_jobs.api.routes import PAGE_CONTENT_TYPE, Route
from flask_forge_jobs.auth.csrf import check_same_site, keep_cookie
from flask_forge_jobs.dashboard.forms.way_back import way_back

THEMES: Final = ("system", "light", "dark")
REFRESH_S: Final = (0, 2, 5, 10, 30, 60)
DEFAULT_REFRESH_S = 5
# An instant as its age, or as date and time.
TIMES: Final = ("ago", "utc")
PATH = "/preferences"
# Of a stranger's form.
MAX_BYTES = 4096
_KEPT_S = 365 * 86_400
_COOKIES = {
    "theme": "forge_jobs_theme",
    "refresh": "forge_jobs_refresh",
    "times": "forge_jobs_times",
}
_KNOWN = {"theme": THEMES, "refresh": tuple(map(str, REFRESH_S)), "times": TIMES}
_DEFAULTS = {"theme": "system", "refresh": str(DEFAULT_REFRESH_S), "times": "ago"}


def preferred(request: Request, name: str) -> str:
    """Return the chosen ``theme``, ``refresh`` or ``times``."""
    value = request.cookies.get(_COOKIES[name])
    return value if value in _KNOWN[name] else _DEFAULTS[name]


def preferences(api: Api) -> Response:
    """Keep what a form chooses, and go back."""
    check_same_site(request)
    form = read_form(request, MAX_BYTES)
    api.form_tokens.check(current_app, request, "", first(form, TOKEN_FIELD))
    chosen = {name: first(form, name) for name in _COOKIES if name in form}
    if not chosen or any(value not in _KNOWN[name] for name, value in chosen.items()):
        raise BadRequest("unknown theme, refresh or times")
    if prefers_page(request):
        response = Response(status=303)
        response.headers["Location"] = f"./{way_back(first(form, 'back'))}"
    else:
        response = empty_response(204)
    for name, value in chosen.items():
        cookie = _COOKIES[name]
        keep_cookie(request, response, cookie, value, max_age=_KEPT_S, path=None)
    return response


ROUTES = (
    Route(
        method="POST", path=PATH, endpoint="preferences", view=preferences,
        permission=None, content_type=PAGE_CONTENT_TYPE,
    ),
)  # fmt: skip
