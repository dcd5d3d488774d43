"""Hosts: the names this service answers to, and whether a request is of this machine.

To a browser, a page whose name was rebound to our address is our own page; only the
``Host`` header still shows the foreign name. Names are compared exactly, without
patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request

MESSAGE = (
    "this service does not answer to the host name of the request; allowed names are "
    "listed in FORGE_JOBS_ALLOWED_HOSTS"
)
_FORWARDING_HEADERS = ("Forwarded", "Via", "X-Real-Ip")
_FORWARDING_PREFIX = "HTTP_X_FORWARDED_"
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\[\]:]+)(?::[0-9]{1,5})?")


class HostList:
    """The configured names and those of this machine.

    ``jobs.example.org`` allows any port, ``jobs.example.org:8443`` only this one. An
    empty list allows every host.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.casefold() for name in names)

    def check(self, request: Request) -> None:
        """Check the host name of a request.

        Raises:
            Forbidden: The name is missing or not in the list.
        """
        if not self._names:
            return
        host = request.environ.get("HTTP_HOST", "").casefold()
        name, _, port = host.rpartition(":")
        # The last colon of "[::1]" does not precede a port.
        has_port = bool(name) and port.isdecimal()
        if host in self._names or (has_port and name in self._names):
            return
        if not is_loopback_host(host):
            raise Forbidden(MESSAGE)


def is_debugged_from_afar(request: Request) -> bool:
    """Return whether a remote client talks to a server with Werkzeug's debugger.

    The debugger's PIN is enough to run any code.
    """
    environ = request.environ
    is_debugged = "werkzeug.debug.preserve_context" in environ
    return is_debugged and not is_loopback(environ.get("REMOTE_ADDR", ""))


def is_plainly_local(request: Request) -> bool:
    """Return whether a request came directly, without a proxy, over loopback."""
    environ = request.environ
    if any(name in request.headers for name in _FORWARDING_HEADERS):
        return False
    if any(key.startswith(_FORWARDING_PREFIX) for key in environ):
        return False
    return is_loopback(environ.get("REMOTE_ADDR", "")) and is_loopback_host(
        environ.get("HTTP_HOST", "")
    )


def is_loopback_host(host: str) -> bool:
    """Return whether a ``Host`` header names this machine, with or without a port."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"]
    return name.lower() == "localhost" or is_loopback(name.strip("[]"))


def is_loopback(address: str) -> bool:
    """Return whether text is a loopback address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback
