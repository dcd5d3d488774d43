"""Token buckets: a budget of calls that refills by itself.

A bucket holds at most ``capacity`` tokens and gains ``refill_per_sec`` of them each
second. What is stored is how many there were at an instant; everything else follows by
arithmetic, so nothing has to run for a bucket to refill.
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
# A bucket that never refills within a year would only look like one that does.
MIN_REFILL_PER_SEC = 1 / (365 * 86_400)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One bucket as it is stored, and the instant at which it was read.

    Args:
        scope: What it limits.
        capacity: Most tokens it holds.
        refill_per_sec: Tokens it gains each second.
        stored_tokens: Tokens at ``refilled_at_us``.
        refilled_at_us: Since when it has been gaining; ahead of the reading while it
            is drained.
        read_at_us: The instant of the reading, by the clock of the database.
    """

    scope: str
    capacity: int
    refill_per_sec: float
    stored_tokens: float
    refilled_at_us: int
    read_at_us: int

    @property
    def tokens(self) -> float:
        """Tokens at the instant of the reading."""
        gained_us = max(self.read_at_us - self.refilled_at_us, 0)
        gained = gained_us / SECOND_US * self.refill_per_sec
        return min(float(self.capacity), self.stored_tokens + gained)

    @property
    def last_refilled_at(self) -> datetime:
        """Since when it has been gaining tokens."""
        return from_micros(self.refilled_at_us)

    def wait_s(self, tokens: int) -> float:
        """Return for how many seconds there will not be so many tokens; 0 if there are.

        Args:
            tokens: At most the capacity.
        """
        missing = tokens - self.tokens
        if missing <= 0:
            return 0.0
        pause_us = max(self.refilled_at_us - self.read_at_us, 0)
        return pause_us / SECOND_US + missing / self.refill_per_sec


@dataclass(frozen=True, slots=True)
class Acquired:
    """Whether tokens were taken.

    ``retry_after_s`` is when there will be enough of them if nobody else takes any, in
    seconds; 0 when they were taken.
    """

    is_granted: bool
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RateLimitDefinition:
    """A bucket as the code of an application wants it.

    Args:
        scope: What it limits.
        capacity: Most tokens it holds.
        refill_per_sec: Tokens it gains each second.
    """

    scope: str
    capacity: int
    refill_per_sec: float

    def check(self) -> None:
        """Check the scope and the settings.

        Raises:
            InvalidInputError: A value is outside its bounds.
        """
        check_scope(self.scope)
        check_rate_limit(self.capacity, self.refill_per_sec)


def check_scope(scope: object) -> str:
    """Return ``scope`` if it can name a bucket; the rules are those of queues.

    Raises:
        InvalidInputError: It cannot; field ``scope``.
    """
    return check_queue_name(scope, "scope")


def check_rate_limit(capacity: object, refill_per_sec: object) -> None:
    """Check the settings of a bucket.

    Raises:
        InvalidInputError: The capacity is not a whole number from 1 to a thousand
            million, or the refill is not a number from one token a year to a thousand
            million tokens a second.
    """
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
