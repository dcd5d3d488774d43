"""Headers that every answer of the API carries."""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.request_ids import HEADER, request_id

_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
)
# RFC 9745 asks for the instant: these routes have been deprecated from the start.
DEPRECATED_SINCE = "@1767225600"


def add_headers(response: Response) -> Response:
    """Add the request's id and what keeps browsers and caches from harm."""
    for name, value in _HEADERS:
        response.headers[name] = value
    response.headers[HEADER] = request_id()
    return response
