"""Rate limits per caller and class of routes; off by default.

Each process counts its own fixed windows, so a service with four processes allows four
times the rate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.auth.windows import FixedWindows
from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import ConfigurationError, RateLimitedError

KEY = "FORGE_JOBS_RATE_LIMITS"
CLASSES = ("read", "write", "bulk")
_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_RATE = re.compile(
    rf"\s*([0-9]{{1,9}})\s*(?:/|per)\s*([0-9]{{1,9}})?\s*({'|'.join(_UNITS_S)})s?\s*"
)


def class_of(route: Route) -> str:
    """Return the rate limit class of a route."""
    if route.is_bulk:
        return "bulk"
    return "write" if route.mutates else "read"


class ApiLimits:
    """Counts the requests of each caller.

    ``rates`` maps classes to rates such as ``20/second``, several separated by ``;``.
    A missing class has no limit.

    Raises:
        ConfigurationError: A class or a rate is invalid.
    """

    def __init__(self, rates: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._windows = {name: _parsed(name, rate) for name, rate in rates.items()}

    def count(self, route: Route, principal_id: str) -> None:
        """Count one request; raise RateLimitedError if it exceeds a rate."""
        for windows in self._windows.get(class_of(route), ()):
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
        most, times, unit = match.groups()
        windows.append(FixedWindows(int(most), int(times or 1) * _UNITS_S[unit]))
    return windows
