"""Lets pages of chosen other origins read the API; off unless origins are configured.

No credential of the browser's own is ever allowed across origins, so such a page has to
send a bearer token.
"""

from __future__ import annotations

from collections.abc import Collection

from flask import Response, request

PREFLIGHT_AGE_S = 600
# Of the headers that a page may send only these need to be allowed.
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
    "X-Request-Id"
)


class Cors:
    """Answers the questions of browsers.

    Args:
        origins: Such as ``https://ops.example.org``, compared exactly.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def __call__(self, response: Response) -> Response:
        """Add to an answer what lets a page of an allowed origin read it."""
        if not self._origins:
            return response
        response.vary.add("Origin")
        if self._is_allowed():
            response.headers["Access-Control-Allow-Origin"] = self._origin()
            response.headers["Access-Control-Expose-Headers"] = "*"
        return response

    def preflight(self, response: Response) -> Response:
        """Add to the answer to ``OPTIONS`` what such a page may send."""
        if self._is_allowed() and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = response.headers["Allow"]
            response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_AGE_S)
        return response

    def _is_allowed(self) -> bool:
        return self._origin() in self._origins

    @staticmethod
    def _origin() -> str:
        return request.headers.get("Origin", "")
