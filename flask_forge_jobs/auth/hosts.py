"""The names this service answers to.

A page whose name was rebound to our address is, to a browser, our own page; only the
``Host`` header still shows the stranger's name. Names are compared exactly: no suffix,
no pattern.
"""

from __future__ import annotations

from collections.abc import Iterable

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request

from flask_forge_jobs.auth.loopback import is_loopback_host

MESSAGE = (
    "this service does not answer to the host that the request names; "
    "FORGE_JOBS_ALLOWED_HOSTS lists those that it answers to"
)


class HostList:
    """The names from the configuration, besides those of this machine.

    Args:
        names: Such as ``jobs.example.org``, for any port, or ``jobs.example.org:8443``.
            None at all allows every host.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.casefold() for name in names)

    def check(self, request: Request) -> None:
        """Let a request pass that names one of the hosts.

        Raises:
            Forbidden: It names another, or none.
        """
        if not self._names:
            return
        host = request.environ.get("HTTP_HOST", "").casefold()
        name, _, port = host.rpartition(":")
        # "[::1]" ends with a bracket and has no port behind its last colon.
        has_port = bool(name) and port.isdecimal()
        if host in self._names or (has_port and name in self._names):
            return
        if not is_loopback_host(host):
            raise Forbidden(MESSAGE)
