"""Rate limit for wrong credentials; a right one always passes.

Each process has two fixed windows of one minute: one per client address, one for all
clients. The address is the peer's: behind a proxy the application must use Werkzeug's
``ProxyFix``.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

from flask_forge_jobs.auth.windows import FixedWindows
from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import RateLimitedError

WINDOW_S = 60.0
PER_ADDRESS = 10
OVERALL = 100


class FailureLimit:
    """Counts failed sign-ins."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._here = FixedWindows(PER_ADDRESS, WINDOW_S)
        self._everywhere = FixedWindows(OVERALL, WINDOW_S)

    def record(self, address: str) -> None:
        """Count one failure; ``address`` may be empty, as on a Unix socket.

        Raises:
            RateLimitedError: Too many failures this minute, of this client or of all.
        """
        now = self._clock.monotonic()
        here = self._here.count(network(address), now)
        everywhere = self._everywhere.count("", now)
        if here or everywhere:
            raise RateLimitedError(here or everywhere)


def network(address: str) -> str:
    """Return the text that identifies a client: an IPv4 address or an IPv6 /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((int(parsed), 64), strict=False))
    return str(parsed)
