"""The edge of the blueprint: access, views, headers and errors of its requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import takewhile
from time import perf_counter
from typing import TYPE_CHECKING, cast

from flask import Response, current_app
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from flask_forge_jobs.api.addresses import V1_PREFIX, Address, converters
from flask_forge_jobs.api.auditor import Auditor
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import (
    Problem,
    allow_header,
    error_response,
    json_problem,
)
from flask_forge_jobs.api.guard import Guard
from flask_forge_jobs.api.headers import (
    DEPRECATED_SINCE,
    Cors,
    add_headers,
    answer_conditionally,
)
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.request import RequestState, prefers_page, present_state
from flask_forge_jobs.api.response import empty_response
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.standby_reads import StandbyReads
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.dashboard.forms.rule import FORM_ENDPOINT
from flask_forge_jobs.dashboard.forms.table import FormTable, form_routes
from flask_forge_jobs.dashboard.table import link_routes, page_addresses, page_routes
from flask_forge_jobs.errors import ForgeJobsError
from flask_forge_jobs.storage.base import Storage

if TYPE_CHECKING:
    from flask_forge_jobs.storage.standby import Standby

# Labels of the request metrics. A client can invent methods without end, and each pair
# of labels takes memory for good.
_UNMATCHED = "unmatched"
_OTHER_METHOD = "OTHER"
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


class Edge:
    """Answers the requests of one blueprint.

    Raises:
        ConfigurationError: An option is invalid.
    """

    def __init__(
        self,
        storage: Storage | Callable[[], Storage],
        options: BlueprintOptions,
        standby: Standby | None = None,
    ) -> None:
        routes = all_routes(enable_demo=options.enable_demo)
        pages = page_addresses(dashboard=options.dashboard)
        find_pages = page_routes if options.dashboard else link_routes
        forms = form_routes(routes) if options.dashboard else ()
        self._api = api = Api(storage, options, routes, find_pages, standby)
        self._readers = None if standby is None else StandbyReads(api, standby)
        self._auditor = Auditor(api)
        self.guard = Guard(api)
        """Lets a request pass, or raises the error that refuses it."""
        self._cors = Cors(options.cors_origins)
        paths = [each.path for each in all_routes(enable_demo=True)]
        known = converters([*paths, *(each.path for each in pages)])
        self.routed = Routed(api, pages, FormTable(forms, known))
        self.views = self._views(routes, pages)
        """The view of each endpoint."""

    def _views(
        self, routes: Sequence[Route], pages: Sequence[Address]
    ) -> Mapping[str, Callable[..., Response]]:
        as_preferred = self._as_preferred
        views: dict[str, Callable[..., Response]] = {
            address.endpoint: as_preferred for address in pages
        }
        for route in routes:
            views[route.endpoint] = partial(route.view, self._api)
            if route.endpoint in self.routed.twins:
                views[route.endpoint] = as_preferred
            elif route.mutates:
                views[route.endpoint] = partial(self._auditor.answer, route)
            elif route.may_lag or route.can_reveal:
                views[route.endpoint] = partial(self._read, route)
        return views

    def _as_preferred(self, **placeholders: str) -> Response:
        """Answer with a page, or with the JSON of the API at the same path."""
        return self._read(present_state().route, **placeholders)

    def _read(self, route: Route, **placeholders: str) -> Response:
        """Answer a read, on the standby if it may be a little old."""
        if self._readers is not None and route.may_lag:
            return self._readers.answer(route.view, **placeholders)
        response = route.view(self._api, **placeholders)
        if route.can_reveal and present_state().reveals:
            self._auditor.note_reveal(response)
        return response

    def send_form(self, **placeholders: str) -> Response:
        """Answer a form."""
        return self._auditor.answer(present_state().route, **placeholders)

    def end(self, response: Response) -> Response:
        """Add the headers of a response, and count and audit its request."""
        state = self.routed()
        response = self._auditor(state, response)
        if state.route.is_form and state.route.mutates:
            from flask_forge_jobs.dashboard.forms.answers import answered

            response = answered(self._api, state, response)
        if self._readers is not None and state.route.mutates:
            self._readers.note_change(state, response)
        if state.is_varied:
            response.vary.add("Accept")
        if state.route.is_deprecated:
            response.headers["Deprecation"] = DEPRECATED_SINCE
        response = self._cors(add_headers(response, state.route.policy, state))
        response = answer_conditionally(state, response)
        self._observe(state, state.route.template, response)
        return response

    def _observe(self, state: RequestState, template: str, response: Response) -> None:
        method = state.request.method
        self._api.request_metrics.observe(
            method if method in _METHODS else _OTHER_METHOD,
            template,
            response.status_code,
            perf_counter() - state.began,
        )

    def answer_error(self, error: Exception) -> Response:
        """Answer a request that has failed."""
        if not present_state().is_routed:
            handler = _handler_of_application(error)
            if handler is not None:
                return cast("Response", current_app.ensure_sync(handler)(error))
        state = self.routed()
        write: Callable[[Problem], Response] = json_problem
        if state.route.is_page and prefers_page(state.request):
            # As the pages, not before the first request for one.
            from flask_forge_jobs.dashboard.forms.refused import refused_page
            from flask_forge_jobs.dashboard.forms.sign_in import shown_problem

            shown = refused_page if state.route.is_form else shown_problem
            write = partial(shown, self._api)
        return error_response(error, mask=self._api.masking_redactor.text, write=write)

    def answer_unmatched(self, path: str, error: HTTPException) -> Response:
        """Answer 404, 405 or ``OPTIONS`` for a path below the mount point."""
        response = self._unmatched(path, error)
        self._observe(present_state(), _UNMATCHED, response)
        return response

    def _unmatched(self, path: str, error: HTTPException) -> Response:
        request = present_state().request
        if request.method == "OPTIONS" and isinstance(error, MethodNotAllowed):
            response = empty_response(204)
            response.headers["Allow"] = allow_header(error.valid_methods or ())
            return add_headers(self._cors(self._cors.preflight(response)))
        # Below /v1 is nothing for people but what has a route.
        is_for_people = request.method == "GET" and not path.startswith(V1_PREFIX)
        if self._api.options.dashboard and is_for_people and prefers_page(request):
            return self._cors(self._lost(path, error))
        return add_headers(self._cors(error_response(error)))

    def _lost(self, path: str, error: HTTPException) -> Response:
        from flask_forge_jobs.dashboard.page import lost_page, lost_route

        state = present_state()
        route = lost_route(path, state.request.environ)
        state.route = route
        with suppress(HTTPException, ForgeJobsError):  # then it is for strangers
            self.guard(state)
        response = error_response(error, write=partial(lost_page, self._api))
        return add_headers(response, route.policy)


def _handler_of_application(error: Exception) -> Callable[..., object] | None:
    """Return the application's own handler of an error that its own hook has raised.

    An error of HTTP has our form, and a handler of all exceptions is for none.
    """
    if isinstance(error, HTTPException):
        return None
    own = current_app.error_handler_spec[None][None]
    kinds = takewhile(lambda kind: kind is not Exception, type(error).__mro__)
    return next((own[kind] for kind in kinds if kind in own), None)


class Routed:
    """Finds the state of a request and its route.

    Each of our hooks does, because one of the application may have answered before.
    ``twins`` are the endpoints of routes of the API that share their path with a page,
    and those of the pages. A request that prefers a page gets that.
    """

    def __init__(self, api: Api, pages: Sequence[Address], forms: FormTable) -> None:
        self._forms = forms
        self._api = api
        self._by_endpoint = {route.endpoint: route for route in api.routes}
        places: dict[tuple[str, str], str] = {}
        self.twins: dict[str, str] = {}
        for each in (*(route.address for route in api.routes), *pages):
            first = places.setdefault((each.method, each.path), each.endpoint)
            if first != each.endpoint:
                self.twins[first] = each.endpoint

    def __call__(self) -> RequestState:
        """Return the state of the current request, with its route."""
        state = present_state()
        if state.is_routed:
            return state
        # Strip the names of the enclosing blueprints.
        endpoint = (state.request.endpoint or "").rpartition(".")[2]
        if endpoint == FORM_ENDPOINT:
            state.route = self._forms.enter(state.request) or state.route
            state.is_routed = True
            return state
        twin = self.twins.get(endpoint)
        state.is_varied = twin is not None
        if twin is not None and prefers_page(state.request):
            endpoint = twin
        state.route = self._route(endpoint)
        state.is_routed = True
        return state

    def _route(self, endpoint: str) -> Route:
        if endpoint not in self._by_endpoint:
            pages = {route.endpoint: route for route in self._api.pages}
            self._by_endpoint.update(pages)
        return self._by_endpoint[endpoint]
