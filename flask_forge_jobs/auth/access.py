"""Who is let in: the configured authenticator, or this machine's developer, or nobody.

Closed by default. Without an authenticator only a program on this machine that talks to
us directly is answered, and only where nobody else could be listening: in debug, in
tests, or under ``forge-jobs-server`` on loopback. The peer's address alone proves
nothing: behind a proxy on the same host everyone is 127.0.0.1, and a web page whose
name was rebound to 127.0.0.1 is a local peer too. Hence all three conditions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from flask import Flask
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.wrappers import Request

# Returns who is asking; anything false refuses. An exception refuses too.
Authenticator = Callable[[Request], object]

_FORWARDING_HEADERS = ("Forwarded", "Via", "X-Real-Ip")
_FORWARDING_PREFIX = "HTTP_X_FORWARDED_"
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\[\]:]+)(?::[0-9]{1,5})?")
CLOSED_MESSAGE = (
    "no authenticator is configured, so only a direct request from this machine to a "
    "debug server is answered; set FORGE_JOBS_AUTH"
)


def check_access(
    request: Request,
    *,
    app: Flask,
    authenticator: Authenticator | None,
    is_open_to_loopback: bool,
) -> None:
    """Let a request pass or refuse it.

    Args:
        request: What came in.
        app: The application; its debug and testing flags open it to loopback.
        authenticator: Returns a principal, or None to refuse; None when not configured.
        is_open_to_loopback: The server promises to listen on loopback only.

    Raises:
        Unauthorized: The authenticator knows no principal for this request.
        Forbidden: There is no authenticator and the request is not plainly local.
    """
    if authenticator is not None:
        if not authenticator(request):
            raise Unauthorized(
                "no valid credential", www_authenticate=WWWAuthenticate("bearer")
            )
        return
    if not (app.debug or app.testing or is_open_to_loopback):
        raise Forbidden(CLOSED_MESSAGE)
    if not is_plainly_local(request):
        raise Forbidden(CLOSED_MESSAGE)


def is_plainly_local(request: Request) -> bool:
    """Tell whether a request was sent directly, by and to a loopback address."""
    environ = request.environ
    if any(name in request.headers for name in _FORWARDING_HEADERS):
        return False
    if any(key.startswith(_FORWARDING_PREFIX) for key in environ):
        return False
    return _is_loopback(environ.get("REMOTE_ADDR", "")) and _is_loopback_host(
        environ.get("HTTP_HOST", "")
    )


def _is_loopback_host(host: str) -> bool:
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"]
    return name.lower() == "localhost" or _is_loopback(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback
