"""Refuses requests that a browser sends for another site: writes (CSRF), some reads.

Browsers state the origin of a request in ``Sec-Fetch-Site``, which a page cannot forge;
older browsers state it in ``Origin``. Programs send neither. They prove that they are
not a form by what a form cannot send: a JSON media type or, without a body, a custom
header. No CSRF token and no cookie is needed.

Requests with one of our own tokens skip this check, because no browser sends one by
itself. An ``Authorization`` header alone proves nothing: the application's
authenticator may have looked at a cookie only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request, Response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROGRAM_HEADER = "X-Forge-Jobs"
_DEFAULT_PORTS = {"http": 80, "https": 443}
MESSAGE = "CSRF check: pages of other sites may not send this request"
UNPROVEN_MESSAGE = (
    "CSRF check: send Content-Type: application/json, the header X-Forge-Jobs: 1, or a "
    "token of FORGE_JOBS_TOKENS"
)


def check_same_site(request: Request) -> None:
    """Check that a write does not come from a page of another origin.

    Raises:
        Forbidden: It does, or it could be a web form.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site != "same-origin":
            raise Forbidden(MESSAGE)
        return
    origin = request.headers.get("Origin")
    if origin is not None:
        if not _is_own_origin(origin, request):
            raise Forbidden(MESSAGE)
        return
    # A body of another media type is refused later, with 415.
    is_no_form = has_body(request) or request.is_json
    if not is_no_form and request.headers.get(PROGRAM_HEADER) != "1":
        raise Forbidden(UNPROVEN_MESSAGE)


def is_read_from_elsewhere(request: Request, allowed: Collection[str]) -> bool:
    """Return whether a script of another origin than ours and the allowed ones reads.

    A top-level navigation may read the response; the page with the link cannot.
    """
    if request.method not in SAFE_METHODS:
        return False  # check_same_site is stricter
    origin = request.headers.get("Origin")
    if origin in allowed or request.headers.get("Sec-Fetch-Mode") == "navigate":
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"}
    return origin is not None and not _is_own_origin(origin, request)


def keep_cookie(
    request: Request, response: Response, name: str, value: str, **more: Any
) -> None:
    """Let the browser of a request from our own page keep a cookie, for no script.

    Behind a proxy that ends TLS and that nobody has declared, https arrives as http;
    only the ``Origin`` of a form shows it.
    """
    origin = request.headers.get("Origin", "")
    is_over_https = request.is_secure or origin.startswith("https://")
    response.set_cookie(
        name, value, secure=is_over_https, httponly=True, samesite="Lax", **more
    )


def has_body(request: Request) -> bool:
    """Return whether a request announces a body."""
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def _is_own_origin(origin: str, request: Request) -> bool:
    try:
        parts = urlsplit(origin)
        host = urlsplit(f"//{request.environ.get('HTTP_HOST', '')}")
        default_port = _DEFAULT_PORTS[parts.scheme]
        theirs = (parts.hostname, parts.port or default_port)
        ours = (host.hostname, host.port or default_port)
    except (ValueError, KeyError):
        return False
    # Behind a proxy that ends TLS, https arrives as http; never the reverse.
    if parts.scheme == "http" and request.scheme == "https":
        return False
    return theirs[0] is not None and theirs == ours
