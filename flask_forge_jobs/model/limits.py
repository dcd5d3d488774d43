"""Limits: token buckets, and how many jobs of a task may run at once.

A bucket is a budget of calls that refills over time. It holds at most ``capacity``
tokens and gains ``refill_per_sec`` of them each second. It stores how many tokens it
had at an instant; the rest is arithmetic, so nothing has to run to refill it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_integer, check_queue_name, shown
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.payloads import dump, load_text

CAPACITY_RANGE = (1, 1_000_000_000)
MAX_REFILL_PER_SEC = 1_000_000_000.0
# Slower than one token a year, a bucket would only seem to refill.
MIN_REFILL_PER_SEC = 1 / (365 * 86_400)
_MAX_CONCURRENT_RANGE = (1, 1024)
# A longer key is cut and ends with its digest, to fit an index entry.
MAX_KEY_LENGTH = 300
# How long a job above the limit waits if no run ends before: doubled each time.
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 60.0
_MAX_DOUBLINGS = 10


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


_WAITS_FOR = "waits for the rate limit "


def waits_for_rate_limit(scope: str) -> str:
    """Return the last error of a job that waits for tokens of a bucket."""
    return f"{_WAITS_FOR}{scope}"


def awaited_rate_limit(last_error: str | None) -> str | None:
    """Return the scope in a text of :func:`waits_for_rate_limit`, or None."""
    text = last_error or ""
    return text.removeprefix(_WAITS_FOR) if text.startswith(_WAITS_FOR) else None


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


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """How many jobs of a task may run at once.

    ``max_concurrent`` of them may; with a ``key``, that many for each value of this
    parameter. ``default`` is JSON text of the value of jobs that do not pass it.
    """

    max_concurrent: int
    key: str | None = None
    default: str = "null"

    def check(self) -> None:
        """Check the number, or raise :class:`InvalidInputError`."""
        check_integer("max_concurrent", self.max_concurrent, *_MAX_CONCURRENT_RANGE)

    def key_of(self, kind: str, payload: str) -> str:
        """Return the concurrency key of a job, which all jobs under the limit share."""
        if self.key is None:
            return kind
        arguments = load_text(payload)
        value = self.default
        if isinstance(arguments, dict) and self.key in arguments:
            value = dump(arguments[self.key])
        name = f"{kind} {self.key}={value}"
        if len(name) <= MAX_KEY_LENGTH:
            return name
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{name[: MAX_KEY_LENGTH - len(digest)]}{digest}"


def concurrency_wait_s(throttle_attempts: int) -> float:
    """Return how many seconds a job above the limit waits, after earlier snoozes."""
    doublings = min(throttle_attempts, _MAX_DOUBLINGS)
    return float(min(_FIRST_WAIT_S * 2**doublings, _LONGEST_WAIT_S))
