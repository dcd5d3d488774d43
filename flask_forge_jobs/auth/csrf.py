"""Refuses writes that a browser sends on behalf of another site.

Browsers say where a request comes from in ``Sec-Fetch-Site``, which a page cannot
forge; older ones say it in ``Origin``. A program that is no browser sends neither; it
shows that it is none by what a form cannot send: a JSON media type, which every body
must have, or without a body a header of its own. No token and no cookie is needed.

Who was recognised by one of our tokens is not asked: no browser sends one on its own.
That a request has a header ``Authorization: Bearer`` proves nothing, because an
authenticator of the host may have looked at a cookie only.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROGRAM_HEADER = "X-Forge-Jobs"
_DEFAULT_PORTS = {"http": 80, "https": 443}
MESSAGE = "a page of another site may not send this"
UNPROVEN_MESSAGE = (
    "without a token of FORGE_JOBS_TOKENS and without a body nothing shows that no web "
    "form sent this; send Content-Type: application/json, or the header X-Forge-Jobs: 1"
)


def check_same_site(request: Request) -> None:
    """Let a read, a program or a page of ours pass.

    Raises:
        Forbidden: A browser sends a write for a page of another origin, or nothing
            shows that it is no browser.
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
    # A body of another media type is refused with 415 in a moment.
    is_no_form = has_body(request) or request.is_json
    if not is_no_form and request.headers.get(PROGRAM_HEADER) != "1":
        raise Forbidden(UNPROVEN_MESSAGE)


def has_body(request: Request) -> bool:
    """Tell whether a request says that a body follows."""
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
    # A proxy may have ended TLS, so https may arrive as http; never the other way.
    if parts.scheme == "http" and request.scheme == "https":
        return False
    return theirs[0] is not None and theirs == ours
