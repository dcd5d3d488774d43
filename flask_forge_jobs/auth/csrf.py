"""Refuses writes that a browser sends on behalf of another site.

Browsers say where a request comes from in ``Sec-Fetch-Site``, which a page cannot
forge; older ones say it in ``Origin``. A program that is no browser sends neither and
is not tricked by anybody, so it passes. No token and no cookie is needed.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# The user's own doing: an address typed in, a form sent again.
_NO_SITE = "none"
_DEFAULT_PORTS = {"http": 80, "https": 443}
MESSAGE = "a page of another site may not send this"


def check_same_site(request: Request) -> None:
    """Let a read, a program or a page of ours pass.

    Raises:
        Forbidden: A browser sends a write for a page of another origin.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site == "same-origin":
        return
    if site is not None and site != _NO_SITE:
        raise Forbidden(MESSAGE)
    origin = request.headers.get("Origin")
    if origin is not None and not _is_own_origin(origin, request):
        raise Forbidden(MESSAGE)


def _is_own_origin(origin: str, request: Request) -> bool:
    # The scheme is not compared: behind a proxy that ends TLS it may differ.
    try:
        parts = urlsplit(origin)
        host = urlsplit(f"//{request.environ.get('HTTP_HOST', '')}")
        default_port = _DEFAULT_PORTS[parts.scheme]
        theirs = (parts.hostname, parts.port or default_port)
        ours = (host.hostname, host.port or default_port)
    except (ValueError, KeyError):
        return False
    return theirs[0] is not None and theirs == ours
