"""Token buckets: a budget of calls that refills over time.

A bucket holds at most ``capacity`` tokens and gains ``refill_per_sec`` of them each
second. It stores how many tokens it had at an instant; the rest is arithmetic, so
nothing has to run to refill it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_integer, check_queue_name, shown
from flask_forge_jobs.model.instants import SECOND_US, from_micros

CAPACITY_RANGE = (1, 1_000_000_000)
MAX_REFILL_PER_SEC = 1_000_000_000.0
# Slower than one token a year, a bucket would only seem to refill.
MIN_REFILL_PER_SEC = 1 / (365 * 86_400)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A stored bucket, and when it was read, by the database's clock.

    It had ``stored_tokens`` at ``refilled_at_us``, which is ahead of the reading while
    the bucket is drained.
    """

    scope: str
    capacity: int
    refill_per_sec: float
    stored_tokens: float
    refilled_at_us: int
    read_at_us: int

    @property
    def tokens(self) -> float:
        """Tokens at the time of reading."""
        gained_us = max(self.read_at_us - self.refilled_at_us, 0)
        gained = gained_us / SECOND_US * self.refill_per_sec
        return min(float(self.capacity), self.stored_tokens + gained)

    @property
    def last_refilled_at(self) -> datetime:
        """Since when the bucket has been gaining tokens."""
        return from_micros(self.refilled_at_us)

    def wait_s(self, tokens: int) -> float:
        """Return the seconds until the bucket has this many tokens; 0 if it does."""
        missing = tokens - self.tokens
        if missing <= 0:
            return 0.0
        pause_us = max(self.refilled_at_us - self.read_at_us, 0)
        return pause_us / SECOND_US + missing / self.refill_per_sec


@dataclass(frozen=True, slots=True)
class Acquired:
    """Whether tokens were taken; if not, when enough will have come back."""

    is_granted: bool
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RateLimitDefinition:
    """A bucket as declared by an application's code."""

    scope: str
    capacity: int
    refill_per_sec: float

    def check(self) -> None:
        """Check the scope and the settings."""
        check_scope(self.scope)
        check_rate_limit(self.capacity, self.refill_per_sec)


def check_scope(scope: object) -> str:
    """Return the name of a bucket; the rules for queue names apply."""
    return check_queue_name(scope, "scope")


def check_rate_limit(capacity: object, refill_per_sec: object) -> None:
    """Check a capacity of 1 to 1e9 tokens, and a refill of 1 a year to 1e9 a second."""
    check_integer("capacity", capacity, *CAPACITY_RANGE)
    if isinstance(refill_per_sec, bool) or not isinstance(refill_per_sec, int | float):
        raise InvalidInputError(
            "refill_per_sec", f"{shown(refill_per_sec)} is not a number"
        )
    is_within = MIN_REFILL_PER_SEC <= refill_per_sec <= MAX_REFILL_PER_SEC
    if not (math.isfinite(refill_per_sec) and is_within):
        raise InvalidInputError(
            "refill_per_sec",
            f"{shown(refill_per_sec)} is not within {MIN_REFILL_PER_SEC:.1e} to "
            f"{MAX_REFILL_PER_SEC:.0e}",
        )
