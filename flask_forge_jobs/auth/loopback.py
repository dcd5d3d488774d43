"""What it takes to be this machine's own program.

The peer's address alone proves nothing: behind a proxy on the same host everyone is
127.0.0.1, and a web page whose name was rebound to 127.0.0.1 is a local peer too.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

from werkzeug.wrappers import Request

_FORWARDING_HEADERS = ("Forwarded", "Via", "X-Real-Ip")
_FORWARDING_PREFIX = "HTTP_X_FORWARDED_"
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\[\]:]+)(?::[0-9]{1,5})?")


def is_debugged_from_afar(request: Request) -> bool:
    """Tell whether another machine talks to a server with Werkzeug's debugger.

    Its console runs any code for whoever finds the PIN.
    """
    environ = request.environ
    is_debugged = "werkzeug.debug.preserve_context" in environ
    return is_debugged and not is_loopback(environ.get("REMOTE_ADDR", ""))


def is_plainly_local(request: Request) -> bool:
    """Tell whether a request was sent directly, by and to a loopback address."""
    environ = request.environ
    if any(name in request.headers for name in _FORWARDING_HEADERS):
        return False
    if any(key.startswith(_FORWARDING_PREFIX) for key in environ):
        return False
    return is_loopback(environ.get("REMOTE_ADDR", "")) and is_loopback_host(
        environ.get("HTTP_HOST", "")
    )


def is_loopback_host(host: str) -> bool:
    """Tell whether a ``Host`` header names this machine, with or without a port."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"]
    return name.lower() == "localhost" or is_loopback(name.strip("[]"))


def is_loopback(address: str) -> bool:
    """Tell whether text is an address of this machine."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback
