"""Rate limits of the API itself: for each caller and class of routes, off by default.

Windows are fixed and counted in each process, so a service with four processes lets
four times as much through; set the rates with that in mind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import ConfigurationError, RateLimitedError

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter

KEY = "FORGE_JOBS_RATE_LIMITS"
CLASSES = ("read", "write", "bulk")


def class_of(route: Route) -> str:
    """Return the class that a route counts in."""
    if route.is_bulk:
        return "bulk"
    return "write" if route.mutates else "read"


class ApiLimits:
    """Counts the requests of each caller.

    Args:
        rates: Class to rate, such as ``{"write": "20/second"}`` or
            ``{"read": "100/second; 2000/minute"}``; a class that is missing has no
            limit.
        clock: Tells how long a caller has to wait.

    Raises:
        ConfigurationError: A class is unknown or a rate cannot be read.
    """

    def __init__(self, rates: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._rates = {name: _parsed(name, rate) for name, rate in rates.items()}

    @cached_property
    def _limiter(self) -> RateLimiter:
        # Its storage starts a thread, which must not happen before the server forks.
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter

        return FixedWindowRateLimiter(MemoryStorage())

    def count(self, route: Route, principal_id: str) -> None:
        """Count one request.

        Args:
            route: What is asked for.
            principal_id: Who asks.

        Raises:
            RateLimitedError: The caller has used up a rate of the route's class.
        """
        class_name = class_of(route)
        for rate in self._rates.get(class_name, ()):
            if not self._limiter.hit(rate, class_name, principal_id):
                reset = self._limiter.get_window_stats(
                    rate, class_name, principal_id
                ).reset_time
                left = reset - self._clock.now_us() / 1_000_000
                raise RateLimitedError(max(1, math.ceil(left)))


def _parsed(name: str, rate: str) -> list[RateLimitItem]:
    from limits import parse_many

    if name not in CLASSES:
        raise ConfigurationError(KEY, f"{name!r} is none of {', '.join(CLASSES)}")
    try:
        return parse_many(rate)
    except ValueError:
        raise ConfigurationError(
            KEY, f"{name}: {rate!r} is no rate such as '20/second' or '100/minute'"
        ) from None
