"""Limits of a caller: request rates, wrong credentials, one expensive read.

All of it is counted per process, so a service with four processes allows four times as
much. Rates count in fixed windows. They do not use the package ``limits``, because that
counts by the wall clock, keeps every key until its own thread removes it, and cannot be
carried across a fork.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address, ip_network

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import ConfigurationError, RateLimitedError

MAX_KEYS = 10_000
# Wrong credentials within a window, of one client and of all.
WINDOW_S = 60.0
PER_ADDRESS = 10
OVERALL = 100
KEY = "FORGE_JOBS_RATE_LIMITS"
CLASSES = ("read", "write", "bulk")
_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_RATE = re.compile(
    rf"\s*([0-9]{{1,9}})\s*(?:/|per)\s*([0-9]{{1,9}})?\s*({'|'.join(_UNITS_S)})s?\s*"
)
_RETRY_AFTER_S = 1


class FixedWindows:
    """Allows ``max_events`` per key within ``length_s`` seconds of its first event.

    It keeps the 10,000 most recently counted keys.
    """

    def __init__(self, max_events: int, length_s: float) -> None:
        self._max_events = max_events
        self._length_s = length_s
        self._lock = threading.Lock()
        # Key to (start, events) of its window, the least recently counted key first.
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, key: str, now: float) -> int:
        """Count one event at ``now``, in seconds of a monotonic clock.

        Returns:
            0 if the event is allowed, else the whole seconds until the window ends, at
            least 1.
        """
        with self._lock:
            start, events = self._windows.pop(key, (now, 0))
            if now >= start + self._length_s:
                start, events = now, 0
            self._windows[key] = (start, events + 1)
            if len(self._windows) > MAX_KEYS:
                del self._windows[next(iter(self._windows))]
        if events < self._max_events:
            return 0
        return max(1, math.ceil(start + self._length_s - now))


class FailureLimit:
    """Counts wrong credentials; a right one always passes.

    It has one window of a minute per client address and one for all clients. The
    address is the peer's: behind a proxy the application must use Werkzeug's
    ``ProxyFix``.
    """

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


class RequestLimits:
    """Counts the requests of each caller; off by default.

    ``rates`` maps classes to rates such as ``20/second``, several separated by ``;``.
    A missing class has no limit.

    Raises:
        ConfigurationError: A class or a rate is invalid.
    """

    def __init__(self, rates: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._windows = {name: _parsed(name, rate) for name, rate in rates.items()}

    def count(self, name: str, principal_id: str) -> None:
        """Count one request of a class; raise RateLimitedError if it exceeds a rate."""
        for windows in self._windows.get(name, ()):
            wait_s = windows.count(principal_id, self._clock.monotonic())
            if wait_s:
                raise RateLimitedError(wait_s)


def _parsed(name: str, rates: str) -> list[FixedWindows]:
    if name not in CLASSES:
        raise ConfigurationError(KEY, f"{name!r} is not one of {', '.join(CLASSES)}")
    windows = []
    for rate in re.split("[;,|]", rates):
        match = _RATE.fullmatch(rate)
        if match is None:
            raise ConfigurationError(
                KEY, f"{name}: {rate!r} is not a rate like '20/second' or '100/minute'"
            )
        max_events, times, unit = match.groups()
        windows.append(FixedWindows(int(max_events), int(times or 1) * _UNITS_S[unit]))
    return windows


class ExpensiveReads:
    """Allows each caller one expensive read at a time.

    Such a read may visit every job, up to the statement time limit, or fill megabytes.
    Many of one caller must not hold all threads of a process, and the database with
    them.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._callers: set[str] = set()

    @contextlib.contextmanager
    def alone(self, caller: str) -> Iterator[None]:
        """Hold the caller's one place.

        Raises:
            RateLimitedError: The caller has an expensive read under way.
        """
        with self._changing:
            if caller in self._callers:
                raise RateLimitedError(_RETRY_AFTER_S)
            self._callers.add(caller)
        try:
            yield
        finally:
            self._callers.discard(caller)
