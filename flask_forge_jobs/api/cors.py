"""CORS: lets pages of the configured origins read the API; off by default.

Cookies and other credentials of the browser are never allowed across origins, so such a
page sends a bearer token.
"""

from __future__ import annotations

from collections.abc import Collection

from flask import Response, request

PREFLIGHT_AGE_S = 600
# Request headers that browsers send only if they are allowed.
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
    "X-Request-Id"
)


class Cors:
    """Adds CORS headers for origins such as ``https://ops.example.org``."""

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
        """Add the headers that tell such a page what it may send."""
        if self._is_allowed() and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = response.headers["Allow"]
            response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_AGE_S)
        return response

    def _is_allowed(self) -> bool:
        return request.headers.get("Origin", "") in self._origins
