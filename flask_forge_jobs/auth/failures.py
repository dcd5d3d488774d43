"""Slows down who sends wrong credentials; a right one always passes.

Two fixed windows of a minute in each process: one for each client address, one for
everybody. The address is the peer's: behind a proxy the application has to say which
header to trust, with Werkzeug's ``ProxyFix``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import RateLimitedError

WINDOW_S = 60.0
PER_ADDRESS = 10
OVERALL = 100
MAX_ADDRESSES = 10_000


class FailureLimit:
    """Counts failed logins.

    Args:
        clock: Measures the windows.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._overall = (0.0, 0)
        # Address to (start of the window, failures); the least recently seen first.
        self._addresses: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def record(self, address: str) -> None:
        """Count one failure.

        Args:
            address: The peer; may be empty or no address at all, as behind a socket.

        Raises:
            RateLimitedError: Too many within this minute, from here or from everywhere.
        """
        key = network(address)
        now = self._clock.monotonic()
        with self._lock:
            here = _counted(self._addresses.pop(key, None), now)
            self._addresses[key] = here
            if len(self._addresses) > MAX_ADDRESSES:
                self._addresses.popitem(last=False)
            self._overall = _counted(self._overall, now)
            everywhere = self._overall
        for (start, failures), most in ((here, PER_ADDRESS), (everywhere, OVERALL)):
            if failures > most:
                left = start + WINDOW_S - now
                raise RateLimitedError(max(1, math.ceil(left)))


def network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or an IPv6 /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((int(parsed), 64), strict=False))
    return str(parsed)


def _counted(window: tuple[float, int] | None, now: float) -> tuple[float, int]:
    if window is None or window[1] == 0 or now >= window[0] + WINDOW_S:
        return (now, 1)
    return (window[0], window[1] + 1)
