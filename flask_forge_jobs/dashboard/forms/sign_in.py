"""Sign-in with a token: a page with one field, and the end of the session."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, current_app, request
from werkzeug.exceptions import Forbidden

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import Problem
from flask_forge_jobs.api.forms import TOKEN_FIELD, Form, first, read_form
from flask_forge_jobs.api.request import present_state
from flask_forge_jobs.api.routes import PAGE_CONTENT_TYPE, Route
from flask_forge_jobs.auth.csrf import check_same_site
from flask_forge_jobs.auth.form_tokens import MESSAGE, nonce_of
from flask_forge_jobs.auth.limits import PER_ADDRESS
from flask_forge_jobs.auth.sessions import delete_cookie, set_cookie
from flask_forge_jobs.dashboard.forms.inputs import Forms
from flask_forge_jobs.dashboard.forms.way_back import way_back, way_back_of
from flask_forge_jobs.dashboard.frame import Frame, way_to_mount_point
from flask_forge_jobs.dashboard.page import problem_page, render
from flask_forge_jobs.dashboard.page_route import PAGE_POLICY
from flask_forge_jobs.errors import RateLimitedError

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
_SIGNED_OUT = 401
# Of a form with one token.
MAX_BYTES = 4096
_SECRET_FIELD = "token"  # noqa: S105  # a field's name
UNKNOWN = "This token is unknown or has expired."
AGAIN = "This page was open for too long, or without cookies. Send it again."


def sign_in(api: Api) -> Response:
    """Show the page; ``back`` in its query is the way back."""
    return sign_in_page(api, way_back(request.args.get("back", "")))


def sign_out(api: Api) -> Response:
    """Show the same page, which ends a session as well."""
    return sign_in_page(api, "")


def sign_in_page(
    api: Api, back: str, *, error: str | None = None, status: int = 200
) -> Response:
    """Return the page; after the sign-in it goes to ``back``."""
    state = present_state()
    root = way_to_mount_point(state.request, state.route)
    is_asked = status == _SIGNED_OUT and error is None
    shown = _shown(api, root, back) | {"error": error, "is_asked": is_asked}
    return render(api, "sign_in", shown, status)


def shown_problem(api: Api, problem: Problem) -> Response:
    """Return the page of an error; whoever may sign in gets that page instead."""
    state = present_state()
    is_for_tokens = api.options.tokens is not None and state.principal is None
    if problem.status == _SIGNED_OUT and is_for_tokens:
        back = Frame(api, state, reads=False).here
        return sign_in_page(api, way_back(back), status=problem.status)
    return problem_page(api, problem)


def _shown(api: Api, root: str, back: str) -> dict[str, object]:
    state = present_state()
    options = api.options
    principal = state.principal
    caller = "" if principal is None else principal.id
    return {
        "action": root + SIGN_IN[1:],
        "sign_out": root + SIGN_OUT[1:],
        "hidden": Forms(api, state, root, back).hidden_for(""),
        "own": Forms(api, state, root, "").hidden_for(caller),
        "user": principal,
        "has_session": state.has_session,
        "takes_tokens": options.tokens is not None,
        "has_login": options.authenticator is not None,
        "has_secret": api.sessions.may_begin(current_app),
        "back": root + back,
        "max_failures": PER_ADDRESS,
    }


def enter(api: Api) -> Response:
    """Begin a session, and go to the page that was asked for."""
    check_same_site(request)
    form = read_form(request, MAX_BYTES)
    back = way_back_of(form)
    if not _has_token(api, form, ""):
        return sign_in_page(api, back, error=AGAIN, status=403)
    try:
        session = api.sessions.begin(current_app, first(form, _SECRET_FIELD).strip())
    except LookupError:
        return sign_in_page(api, back, status=503)
    if session is None:
        return _refused(api, back)
    response = _to(back)
    set_cookie(request, response, session)
    return response


def _has_token(api: Api, form: Form, caller: str) -> bool:
    token = first(form, TOKEN_FIELD)
    return api.form_tokens.matches(current_app, caller, nonce_of(request), token)


def _to(path: str) -> Response:
    # With a content type, which Flask-DebugToolbar needs to show a redirect.
    response = Response(status=303)
    root = way_to_mount_point(request, present_state().route)
    response.headers["Location"] = root + path
    return response


def _refused(api: Api, back: str) -> Response:
    try:
        api.failures.record(request.environ.get("REMOTE_ADDR", ""))
    except RateLimitedError as error:
        text = f"Too many wrong tokens. Wait {error.retry_after_s} s, then try again."
        response = sign_in_page(api, back, error=text, status=429)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    return sign_in_page(api, back, error=UNKNOWN, status=401)


def leave(api: Api) -> Response:
    """End the session of this browser."""
    check_same_site(request)
    state = present_state()
    form = read_form(request, MAX_BYTES)
    if state.has_session and not _has_token(api, form, api.principal.id):
        raise Forbidden(MESSAGE)
    response = _to(SIGN_IN[1:])
    delete_cookie(response)
    return response


def _route(method: str, path: str, view: Callable[[Api], Response]) -> Route:
    return Route(
        method=method,
        path=path,
        endpoint=f"session_{view.__name__}",
        view=view,
        permission=None,
        knows_caller=True,
        content_type=PAGE_CONTENT_TYPE,
        policy=PAGE_POLICY,
    )


ROUTES = (
    _route("GET", SIGN_IN, sign_in),
    _route("POST", SIGN_IN, enter),
    _route("GET", SIGN_OUT, sign_out),
    _route("POST", SIGN_OUT, leave),
)
