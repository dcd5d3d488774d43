"""Headers of every response: for browsers and caches, CORS, and ``ETag``."""

from __future__ import annotations

from collections.abc import Collection

from flask import Response, request

from flask_forge_jobs.api.request import ID_HEADER, RequestState, present_state
from flask_forge_jobs.api.routes import DATA_POLICY
from flask_forge_jobs.auth.csrf import SAFE_METHODS

_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
# RFC 9745 requires a date; these routes have been deprecated from the start.
DEPRECATED_SINCE = "@1767225600"
# Of a change.
_VARIED = ("Sec-Fetch-Site", "Origin")
PREFLIGHT_AGE_S = 600
# Request headers that browsers send only if they are allowed.
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
    "X-Request-Id"
)
_OK = 200


def add_headers(
    response: Response,
    policy: str = DATA_POLICY,
    state: RequestState | None = None,
) -> Response:
    """Add the request id and headers for browsers and caches.

    A view may set ``Cache-Control`` and ``Content-Security-Policy`` and none of the
    others.
    """
    state, headers = state or present_state(), response.headers
    # One look at those there are: each look-up walks over all.
    kept = {name.lower() for name, _ in headers}
    added = [*_HEADERS]
    if "content-security-policy" not in kept:
        added.append(("Content-Security-Policy", policy))
    if "cache-control" not in kept:
        added.append(("Cache-Control", "no-store"))
    if state.request.method not in SAFE_METHODS:
        if "vary" in kept:
            response.vary.update(_VARIED)
        else:
            added.append(("Vary", ", ".join(_VARIED)))
    if "x-request-id" in kept:
        del headers[ID_HEADER]
    added.append((ID_HEADER, state.id))
    headers[len(headers) :] = added  # in half the time of extend()
    return response


class Cors:
    """Lets pages of origins such as ``https://ops.example.org`` read the API.

    Cookies and other credentials of the browser are never allowed across origins, so
    such a page sends a bearer token.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def __call__(self, response: Response) -> Response:
        """Add the headers that let a page of an allowed origin read a response."""
        if not self._origins:
            return response
        response.vary.add("Origin")
        if self._is_allowed():
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = "*"
        return response

    def preflight(self, response: Response) -> Response:
        """Add the headers that list the methods and headers of such a page."""
        if self._is_allowed() and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = response.headers["Allow"]
            response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_AGE_S)
        return response

    def _is_allowed(self) -> bool:
        return request.headers.get("Origin", "") in self._origins


def answer_conditionally(state: RequestState, response: Response) -> Response:
    """Add a strong ``ETag`` to a successful read, and drop a body the client has.

    The query has run already; a 304 saves only the body.
    """
    method = state.request.method
    if (
        method not in {"GET", "HEAD"}
        or response.status_code != _OK
        or response.direct_passthrough
        or not state.route.is_compared
    ):
        return response
    response.add_etag()
    known = state.request.headers.get("If-None-Match")
    if known is not None:
        # Only this condition: the others are for changes and ranges.
        asked = {"REQUEST_METHOD": method, "HTTP_IF_NONE_MATCH": known}
        response.make_conditional(asked)
        del response.headers["Date"]  # the server adds it
    return response
