"""The forms of a template: their addresses and hidden fields.

A page with a form sets the cookie that its token belongs to; see
:mod:`flask_forge_jobs.auth.form_tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, unquote, urlencode

from flask import Response, after_this_request, current_app
from markupsafe import Markup
from werkzeug.utils import cached_property

from flask_forge_jobs.api.addresses import FORM_PREFIX, PLACEHOLDER
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.forms import BACK_FIELD, BODY_FIELD, TAG_FIELD, TOKEN_FIELD
from flask_forge_jobs.api.request import RequestState
from flask_forge_jobs.api.response import encode
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.auth.csrf import keep_cookie
from flask_forge_jobs.auth.form_tokens import NONCE_COOKIE, new_nonce, nonce_of
from flask_forge_jobs.model.sentences import Action


@dataclass(frozen=True, slots=True)
class FormTarget:
    """Where a form goes.

    ``action`` is its address, ``hidden`` its hidden fields, and ``allowed`` whether
    the caller may send it now.
    """

    action: str
    hidden: Markup
    allowed: bool


class Forms:
    """The forms of one page."""

    def __init__(self, api: Api, state: RequestState, root: str, back: str) -> None:
        self._api = api
        self._state = state
        self._root = root
        self._back = back

    def to(self, endpoint: str, values: Mapping[str, object]) -> FormTarget:
        """Return the form of a route of the API.

        Args:
            endpoint: That of the route, such as ``v1_job_retry``.
            values: The placeholders of its path; the rest is its query.

        Raises:
            LookupError: There is no such route, or a placeholder is missing.
        """
        route = self._routes[endpoint]
        names = [match["name"] for match in PLACEHOLDER.finditer(route.path)]
        placeholders = {name: str(values[name]) for name in names}
        query = {key: each for key, each in values.items() if key not in names}
        path = PLACEHOLDER.sub(
            lambda match: quote(placeholders[match["name"]], safe=""), route.path
        )
        return FormTarget(
            self._address(route.method, path, query),
            self.hidden,
            self._may_send(route, placeholders),
        )

    @cached_property
    def _routes(self) -> Mapping[str, Route]:
        return {route.endpoint: route for route in self._api.routes}

    def of(self, action: Action) -> FormTarget | None:
        """Return the form of a sentence's action; None if it only shows something."""
        if action.method == "GET":
            return None
        path = action.path.partition("?")[0]
        for route in self._api.routes:
            if route.method != action.method or not route.mutates:
                continue
            if match := _pattern(route.path).fullmatch(path):
                break
        else:
            raise LookupError(f"{action.method} {action.path} is no change of the API")
        hidden = self.hidden
        if action.body is not None:
            hidden += _input(BODY_FIELD, encode(action.body).decode())
        if action.if_match:
            hidden += _input(TAG_FIELD, action.if_match)
        placeholders = {name: unquote(text) for name, text in match.groupdict().items()}
        return FormTarget(
            self._address(action.method, action.path, {}),
            hidden,
            self._may_send(route, placeholders),
        )

    @cached_property
    def hidden(self) -> Markup:
        """The hidden fields of every form: token and way back."""
        return self.hidden_for(None)

    def hidden_for(self, caller: str | None) -> Markup:
        """Return those of another caller; None means that of the page."""
        return _input(TOKEN_FIELD, self.token(caller)) + _input(BACK_FIELD, self._back)

    def of_browser(self) -> Markup:
        """Return the hidden field of a form about this browser, of any user."""
        return _input(TOKEN_FIELD, self.token(""))

    def token(self, caller: str | None = None) -> str:
        """Return the token of the page's forms, also for ``X-CSRF-Token``."""
        if caller is None:
            principal = self._state.principal
            caller = "" if principal is None else principal.id
        return self._api.form_tokens.token(current_app, caller, self._nonce())

    def _nonce(self) -> str:
        state = self._state
        known = nonce_of(state.request) or state.new_nonce
        if known is not None:
            return known
        state.new_nonce = nonce = new_nonce()

        @after_this_request
        def remember(response: Response) -> Response:
            keep_cookie(state.request, response, NONCE_COOKIE, nonce)
            return response

        return nonce

    def _address(self, method: str, path: str, query: Mapping[str, object]) -> str:
        given = {key: value for key, value in query.items() if value is not None}
        tail = f"?{urlencode(given)}" if given else ""
        return f"{self._root}{FORM_PREFIX[1:]}/{method.lower()}{path}{tail}"

    def _may_send(self, route: Route, placeholders: Mapping[str, str]) -> bool:
        principal = self._state.principal
        if self._api.is_read_only or principal is None or route.permission is None:
            return False
        if not principal.may(route.permission):
            return False
        if principal.queues is None:
            return True
        match route.reach:
            case Reach.CLUSTER:
                return False
            case Reach.QUEUE:
                return placeholders["name"] in principal.queues
            case Reach.JOB | Reach.VIEW:
                return True  # the page shows the caller's own jobs only


@cache
def _pattern(path: str) -> re.Pattern[str]:
    """Return the pattern of the paths of a route."""
    return re.compile(PLACEHOLDER.sub(r"(?P<\g<name>>[^/]+)", path))


def _input(name: str, value: str) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, value)
