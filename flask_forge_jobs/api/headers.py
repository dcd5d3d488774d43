"""Headers of every response."""

from __future__ import annotations

from flask import Response, request

from flask_forge_jobs.api.request_state import ID_HEADER, present_state
from flask_forge_jobs.auth.csrf import SAFE_METHODS

_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    # If a browser shows a response as a page, nothing in it runs.
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
# RFC 9745 requires a date; these routes have been deprecated from the start.
DEPRECATED_SINCE = "@1767225600"


def add_headers(response: Response) -> Response:
    """Add the request id and headers for browsers and caches; no view sets these."""
    response.headers.extend(_HEADERS)
    if request.method not in SAFE_METHODS:
        response.vary.update(("Sec-Fetch-Site", "Origin"))
    response.headers[ID_HEADER] = present_state().id
    return response
