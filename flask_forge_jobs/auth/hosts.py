"""The host names this service answers to.

To a browser, a page whose name was rebound to our address is our own page; only the
``Host`` header still shows the foreign name. Names are compared exactly, without
patterns.
"""

from __future__ import annotations

from collections.abc import Iterable

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request

from flask_forge_jobs.auth.loopback import is_loopback_host

MESSAGE = (
    "this service does not answer to the host name of the request; allowed names are "
    "listed in FORGE_JOBS_ALLOWED_HOSTS"
)


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
