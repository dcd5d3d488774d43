"""Pages: a function each, and the template of the same name that shows its result.

As with every blueprint, a file of the application under ``templates/forge_jobs``
replaces ours. Our templates escape everything and refuse undefined names, independently
of the application's own settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from typing import Any
from urllib.parse import quote

from flask import Request, Response, current_app
from jinja2 import Environment, StrictUndefined, defaults

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import Problem
from flask_forge_jobs.api.request import present_state
from flask_forge_jobs.api.routes import PAGE_CONTENT_TYPE, Route
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard import assets

# Style sheets and images of ours; no script, no form, and in nobody's frame.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
INDEX_PATH = "/"
# Takes the Api and the placeholders of the path.
PageFunction = Callable[..., Mapping[str, object] | Response]

_ENVIRONMENT = "forge_jobs_templates"
# An application may have changed any of these for its own templates.
_OPTIONS: Mapping[str, Any] = {
    "autoescape": True,
    "undefined": StrictUndefined,
    "trim_blocks": True,
    "lstrip_blocks": True,
    "block_start_string": defaults.BLOCK_START_STRING,
    "block_end_string": defaults.BLOCK_END_STRING,
    "variable_start_string": defaults.VARIABLE_START_STRING,
    "variable_end_string": defaults.VARIABLE_END_STRING,
    "comment_start_string": defaults.COMMENT_START_STRING,
    "comment_end_string": defaults.COMMENT_END_STRING,
    "line_statement_prefix": None,
    "line_comment_prefix": None,
}
_TITLES: Mapping[str, str] = {
    "unauthorized": "You are not signed in",
    "forbidden": "You may not see this page",
    "not_found": "There is no such page",
    "rate_limited": "Too many requests",
    "unavailable": "The database does not answer",
    "validation": "This address is not right",
}


def page(
    path: str,
    show: PageFunction,
    *,
    permission: Permission | None = Permission.READ,
    policy: str = PAGE_POLICY,
    **more: Any,
) -> Route:
    """Return the route of a page.

    Args:
        path: Its address below the mount point.
        show: Returns the values for the template
            ``forge_jobs/<name of the function>.html``.
        permission: The permission that a caller needs; None opens it to everybody.
        policy: Its ``Content-Security-Policy``.
        more: Further fields of :class:`.Route`, such as ``reach``.
    """
    return Route(
        method="GET",
        path=path,
        endpoint=f"page_{show.__name__}",
        view=update_wrapper(partial(_view, show), show),
        permission=permission,
        content_type=PAGE_CONTENT_TYPE,
        policy=policy,
        **more,
    )


def _view(show: PageFunction, api: Api, **placeholders: str) -> Response:
    shown = show(api, **placeholders)
    return shown if isinstance(shown, Response) else render(show.__name__, shown)


def problem_page(problem: Problem) -> Response:
    """Return an error as a page."""
    title = _TITLES.get(problem.kind, "Something went wrong")
    return render("problem", {"title": title, "problem": problem}, problem.status)


def render(name: str, shown: Mapping[str, object], status: int = 200) -> Response:
    """Return a template filled with values.

    Every template also knows ``root``, the way from its page to the mount point,
    ``asset``, which returns the address of a static file, and ``request_id``.
    """
    state = present_state()
    root = way_to_mount_point(state.request, state.route)
    text = (
        _environment()
        .get_template(f"forge_jobs/{name}.html")
        .render(
            shown,
            root=root,
            asset=lambda file: root + assets.address_of(file),
            request_id=state.id,
        )
    )
    response = Response(text, status, content_type=PAGE_CONTENT_TYPE)
    response.vary.add("Accept")
    return response


def way_to_mount_point(request: Request, route: Route) -> str:
    """Return the relative address of the mount point, with a slash at its end.

    Relative links also work behind a proxy that strips a prefix without saying so. The
    index answers with and without a slash at the end of its address.
    """
    if route.path != INDEX_PATH:
        return "../" * (route.path.count("/") - 1) or "./"
    environ = request.environ
    last = f"{environ['SCRIPT_NAME']}{environ['PATH_INFO']}".rpartition("/")[2]
    return f"./{quote(last.encode('latin-1'))}/" if last else "./"


def _environment() -> Environment:
    made = current_app.extensions.get(_ENVIRONMENT)
    if made is None:
        made = current_app.jinja_env.overlay(**_OPTIONS)
        current_app.extensions[_ENVIRONMENT] = made
    return made
