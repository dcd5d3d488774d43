"""The checks of every request before its view: authentication, permission, queue."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from flask import Request, current_app
from werkzeug.exceptions import Forbidden

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.forms import (
    HEADER_FIELDS,
    TOKEN_FIELD,
    document_of,
    first,
    read_form,
)
from flask_forge_jobs.api.loading import loaded
from flask_forge_jobs.api.request import (
    NO_KEYS,
    RequestState,
    check_media_type,
    prefers_page,
    refuse_bad_unread_body,
    refuse_unknown_parameters,
)
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.scope import CLUSTER_MESSAGE
from flask_forge_jobs.auth.access import Access
from flask_forge_jobs.auth.csrf import SAFE_METHODS, check_same_site, has_body
from flask_forge_jobs.auth.hosts import HostList, is_debugged_from_afar
from flask_forge_jobs.auth.limits import RequestLimits
from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.errors import InvalidInputError

# Routing puts this in place of bytes that are not UTF-8.
_REPLACEMENT = "\ufffd"


class Guard:
    """Checks each request of one blueprint."""

    def __init__(self, api: Api) -> None:
        options = api.options
        self._api = api
        self._options = options
        self._limits = RequestLimits(options.rate_limits, options.clock)
        self._access = Access(
            tokens=options.tokens,
            authenticator=options.authenticator,
            sessions=api.sessions,
            failures=api.failures,
            hosts=HostList(options.allowed_hosts),
            origins=frozenset(options.cors_origins),
            is_open_to_loopback=options.open_to_loopback,
        )

    def __call__(self, state: RequestState) -> None:
        """Let a request pass, and note its sender."""
        route = state.route
        request = state.request
        if route.permission is None or self._api.metrics_auth(route) == "none":
            _check_path(request)
            if route.knows_caller and prefers_page(request):
                self._look_at_visitor(state)
            return
        known = self._access.by_token(request)
        if known is None and self._api.metrics_auth(route) == "token":
            self._access.refuse(request)
        principal = (
            known
            or self._by_session(state)
            or self._access.without_token(request, current_app)
        )
        state.principal = principal
        self._limits.count(route.limit_class, principal.id)
        self._check_permission(state, principal)
        if known is None:
            check_same_site(request)
        _check_path(request)
        if route.is_exact:
            refuse_unknown_parameters(request, route.query)
        if route.is_form:
            self._check_form(state, principal)
        elif request.method not in SAFE_METHODS and has_body(request):
            check_media_type(request)
        if principal.queues is not None:
            self._check_reach(route, request)
        if route.mutates and route.body is None and not route.is_form:
            refuse_bad_unread_body(request, self._options.max_body_bytes)

    def _look_at_visitor(self, state: RequestState) -> None:
        known = self._access.by_token(state.request)
        state.has_token = known is not None
        principal = (
            known
            or self._by_session(state)
            or self._access.of_visitor(state.request, current_app)
        )
        if principal is not None:
            state.principal = principal
            self._limits.count(state.route.limit_class, principal.id)

    def _by_session(self, state: RequestState) -> Principal | None:
        """Return the user of a session, which opens reads and forms only.

        A browser sends its cookie with whatever a page makes it send.
        """
        if state.route.mutates and not state.route.is_form:
            return None
        principal = self._access.by_session(state.request, current_app)
        state.has_session = principal is not None
        return principal

    def _check_permission(self, state: RequestState, principal: Principal) -> None:
        route = state.route
        request = state.request
        state.reveals = route.can_reveal and request.args.get("reveal") == "1"
        if route.permission is not None:
            principal.require(route.permission)
        if state.reveals:
            principal.require(Permission.PAYLOAD_REVEAL)
        if not route.mutates:
            return
        if self._options.read_only:
            raise Forbidden("this service is read-only (FORGE_JOBS_READ_ONLY)")
        if is_debugged_from_afar(request):
            raise Forbidden("the debugger is on: only this machine may send changes")

    def _check_form(self, state: RequestState, principal: Principal) -> None:
        request, route = state.request, state.route
        form = read_form(request, self._options.max_body_bytes)
        state.form = form
        token = first(form, TOKEN_FIELD)
        self._api.form_tokens.check(current_app, request, principal.id, token)
        for name, header in HEADER_FIELDS.items():
            if header in route.takes and first(form, name):
                variable = f"HTTP_{header.upper().replace('-', '_')}"
                request.environ[variable] = first(form, name)
        if route.body is None:
            loaded(document_of(form, NO_KEYS), NO_KEYS)

    def _check_reach(self, route: Route, request: Request) -> None:
        scope = self._api.scope
        placeholders = request.view_args or {}
        match route.reach:
            case Reach.CLUSTER:
                raise Forbidden(CLUSTER_MESSAGE)
            case Reach.QUEUE:
                scope.require(placeholders["name"])
            case Reach.JOB:
                scope.require_job(placeholders["job_id"])
            case Reach.VIEW:
                pass


def _check_path(request: Request) -> None:
    """Refuse a path parameter that is not UTF-8; the field is ``path``."""
    if not any(_REPLACEMENT in text for text in (request.view_args or {}).values()):
        return
    environ = request.environ
    # A server that decodes the path may have replaced the bytes already.
    asked = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    try:
        environ["PATH_INFO"].encode("latin-1").decode("utf-8")
        unquote_to_bytes(asked.partition("?")[0]).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError("path", "is not UTF-8") from None
