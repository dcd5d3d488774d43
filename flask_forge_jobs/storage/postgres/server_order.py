"""Of several hosts, the one that was last reached comes first.

libpq tries the hosts of a URL in order. One that hangs costs ``connect_timeout`` each
time, also long after another one has taken over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812  # a class


class ServerOrder:
    """Remembers which host to try first; the order of the others stays."""

    def __init__(self) -> None:
        self._reached: tuple[str, str] | None = None

    def note_reached(self, connection: Connection) -> None:
        """Begin with the host of a connection from now on.

        Not if PGHOSTADDR lists addresses, which libpq pairs with the hosts by place.
        """
        info = connection.info
        if info.dsn_parameters.get("hostaddr"):
            return
        self._reached = info.host or "", str(info.port)

    def forget(self) -> None:
        """Try the hosts in the given order again."""
        self._reached = None

    def applied_to(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return libpq's parameters with their hosts and ports in our order."""
        hosts = str(parameters.get("host", "")).split(",")
        if len(hosts) == 1 or self._reached is None:
            return dict(parameters)
        ports = str(parameters["port"]).split(",")
        if len(ports) == 1:
            ports *= len(hosts)
        places = sorted(
            zip(hosts, ports, strict=True), key=lambda place: place != self._reached
        )
        return {
            **parameters,
            "host": ",".join(host for host, _ in places),
            "port": ",".join(port for _, port in places),
        }
