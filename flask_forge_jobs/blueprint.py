"""The ``forge_jobs`` blueprint: API and pages, access, headers, errors.

``app.register_blueprint(create_blueprint(storage), url_prefix="/api/queue")`` is all an
application needs; :class:`flask_forge_jobs.ForgeJobs` does the same and more. Errors
below the mount point have the API's own form in every application.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from flask import Blueprint, Response
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException, default_exceptions

from flask_forge_jobs.api.auditor import Auditor
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import Problem, error_response, json_problem
from flask_forge_jobs.api.guard import Guard
from flask_forge_jobs.api.headers import (
    DEPRECATED_SINCE,
    Cors,
    add_headers,
    answer_conditionally,
)
from flask_forge_jobs.api.mount_point import ErrorPage, Unmatched
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.request import RequestState, prefers_page, present_state
from flask_forge_jobs.api.routes import Address, Route, converters
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.dashboard.forms.table import (
    FORM_ENDPOINT,
    FORM_RULE,
    FormTable,
    form_routes,
)
from flask_forge_jobs.dashboard.page_route import INDEX_PATH
from flask_forge_jobs.dashboard.table import Pages, all_pages, links_only
from flask_forge_jobs.storage.base import Storage

__all__ = ["BlueprintOptions", "create_blueprint"]

BLUEPRINT_NAME = "forge_jobs"
INDEX_ENDPOINT = f"{BLUEPRINT_NAME}.page_index"


def create_blueprint(
    storage: Storage | Callable[[], Storage],
    *,
    options: BlueprintOptions | None = None,
) -> Blueprint:
    """Return a blueprint that serves the API and the pages of one storage.

    Nothing is opened before the first request that uses the storage.

    Args:
        storage: The storage, or a function that returns the storage of the current
            request.
        options: How the blueprint behaves. None means the defaults, which answer only
            direct requests from this machine in debug or in tests.

    Raises:
        ConfigurationError: An option is invalid.
    """
    chosen = options or BlueprintOptions()
    api_routes = all_routes(enable_demo=chosen.enable_demo)
    pages = all_pages() if chosen.dashboard else links_only()
    forms = form_routes(api_routes) if chosen.dashboard else ()
    api = Api(storage, chosen, api_routes, pages.routes)
    blueprint = Blueprint(
        BLUEPRINT_NAME, __name__, template_folder="dashboard/templates"
    )
    auditor = Auditor(api)
    # A demo route that is off is unknown, and no name of a job either.
    paths = [route.path for route in all_routes(enable_demo=True)]
    found = converters([*paths, *(address.path for address in pages.addresses)])
    blueprint.record(lambda state: state.app.url_map.converters.update(found))
    form_table = FormTable(forms, found)
    routed = _Routed(api_routes, pages, form_table)
    _add_routes(blueprint, api, pages, auditor, routed)
    if forms:
        _add_forms(blueprint, auditor, form_table)
    cors = Cors(chosen.cors_origins)
    _add_hooks(blueprint, api, routed, cors, auditor)

    handler = partial(_answer_error, routed, api)
    blueprint.register_error_handler(Exception, handler)
    # The application's handler for a status would precede ours for all exceptions.
    for status in default_exceptions:
        blueprint.register_error_handler(status, handler)
    lost = partial(_lost, api) if chosen.dashboard else None
    blueprint.record(partial(_answer_unmatched_urls, cors, lost))
    return blueprint


def _add_routes(
    blueprint: Blueprint,
    api: Api,
    pages: Pages,
    auditor: Auditor,
    routed: _Routed,
) -> None:
    views: dict[Address, Callable[..., Response]] = {}
    for route in api.routes:
        view = auditor.view(route) if route.mutates else partial(route.view, api)
        if route.endpoint in routed.twins:
            view = partial(_as_preferred, api)
        views[route.address] = _named(view, route.view)
    for address in pages.addresses:
        if address.endpoint in routed.twins.values():
            continue
        view = _named(partial(_as_preferred, api), _as_preferred)
        if address.path == INDEX_PATH:
            blueprint.record(partial(_add_index, address, view))
        else:
            views[address] = view
    for address, view in views.items():
        blueprint.add_url_rule(
            address.path,
            endpoint=address.endpoint,
            view_func=view,
            methods=[address.method],
            # Unmatched answers OPTIONS, with 204 and no body.
            provide_automatic_options=False,
        )


def _add_forms(blueprint: Blueprint, auditor: Auditor, forms: FormTable) -> None:
    def send_form(**placeholders: str) -> Response:
        return auditor.view(present_state().route)(**placeholders)

    blueprint.record(lambda state: forms.add_converter(state.app.url_map))
    blueprint.add_url_rule(
        FORM_RULE,
        endpoint=FORM_ENDPOINT,
        view_func=send_form,
        methods=["POST"],
        provide_automatic_options=False,
    )


def _as_preferred(api: Api, **placeholders: str) -> Response:
    """Answer with a page, or with the JSON of the API at the same path."""
    return present_state().route.view(api, **placeholders)


def _add_index(
    address: Address, view: Callable[..., Response], state: BlueprintSetupState
) -> None:
    """Serve the index at the mount point; the root is the application's own.

    With and without a slash at the end, because a redirect would go to whatever host
    the client has named. Not strict_slashes=False, which answers other methods with
    404.
    """
    names = (state.name_prefix, state.name, address.endpoint)
    endpoint = ".".join(name for name in names if name)
    # At the root, forge-jobs-server adds the rule.
    state.app.view_functions[endpoint] = view
    prefix = (state.url_prefix or "").rstrip("/")
    for path in (f"{prefix}/", prefix) if prefix else ():
        state.app.add_url_rule(
            path,
            endpoint,
            methods=[address.method],
            provide_automatic_options=False,
        )


class _Routed:
    """Finds the state of a request and its route.

    Each of our hooks does, because one of the application may have answered before.
    ``twins`` are the endpoints of routes of the API that share their path with a page,
    and those of the pages. A request that prefers a page gets that.
    """

    def __init__(self, routes: Sequence[Route], pages: Pages, forms: FormTable) -> None:
        self._forms = forms
        self._pages = pages
        self._by_endpoint = {route.endpoint: route for route in routes}
        places: dict[tuple[str, str], str] = {}
        self.twins: dict[str, str] = {}
        for each in (*(route.address for route in routes), *pages.addresses):
            first = places.setdefault((each.method, each.path), each.endpoint)
            if first != each.endpoint:
                self.twins[first] = each.endpoint

    def __call__(self) -> RequestState:
        state = present_state()
        # Strip the names of the enclosing blueprints.
        endpoint = (state.request.endpoint or "").rpartition(".")[2]
        if endpoint == FORM_ENDPOINT:
            state.route = self._forms.enter(state.request) or state.route
            return state
        twin = self.twins.get(endpoint)
        state.is_varied = twin is not None
        if twin is not None and prefers_page(state.request):
            endpoint = twin
        state.route = self._route(endpoint)
        return state

    def _route(self, endpoint: str) -> Route:
        if endpoint not in self._by_endpoint:
            pages = {route.endpoint: route for route in self._pages.routes()}
            self._by_endpoint.update(pages)
        return self._by_endpoint[endpoint]


def _answer_error(routed: _Routed, api: Api, error: Exception) -> Response:
    state = routed()
    write: Callable[[Problem], Response] = json_problem
    if state.route.is_page and prefers_page(state.request):
        # As the pages, not before the first request for one.
        from flask_forge_jobs.dashboard.forms.refused import refused_page
        from flask_forge_jobs.dashboard.forms.sign_in import shown_problem

        write = partial(refused_page if state.route.is_form else shown_problem, api)
    return error_response(error, mask=api.masking_redactor.text, write=write)


def _named(
    view: Callable[..., Response], named: Callable[..., Response]
) -> Callable[..., Response]:
    """Give a view the names of another, by which extensions know views.

    Not ``__wrapped__``: the signature of the other one has the Api too.
    """
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(view, name, getattr(named, name))
    return view


def _add_hooks(
    blueprint: Blueprint,
    api: Api,
    routed: _Routed,
    cors: Cors,
    auditor: Auditor,
) -> None:
    """Add the functions that run before and after each request."""
    guard = Guard(api)

    # One hook for everything: Flask checks each hook for a coroutine on each request.
    @blueprint.before_request
    def begin() -> None:
        guard(routed())

    @blueprint.after_request
    def end(response: Response) -> Response:
        state = routed()
        response = auditor(state, response)
        if state.route.is_form and state.route.mutates:
            from flask_forge_jobs.dashboard.forms.answers import answered

            response = answered(api, state, response)
        if state.is_varied:
            response.vary.add("Accept")
        if state.route.is_deprecated:
            response.headers["Deprecation"] = DEPRECATED_SINCE
        response = cors(add_headers(response, state.route.policy))
        response = answer_conditionally(state, response)
        api.request_metrics.observe(
            state.request.method,
            state.route.path,
            response.status_code,
            perf_counter() - state.began,
        )
        return response


def _answer_unmatched_urls(
    cors: Cors, page: ErrorPage | None, state: BlueprintSetupState
) -> None:
    unmatched = Unmatched(state.app, state.url_prefix or "", cors, page)
    state.app.before_request(unmatched)


def _lost(api: Api, path: str, error: HTTPException) -> Response:
    from flask_forge_jobs.dashboard.page import lost_page

    response = error_response(error, write=partial(lost_page, api, path))
    return add_headers(response, present_state().route.policy)
