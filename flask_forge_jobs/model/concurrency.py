"""Concurrency limits: how many jobs of a task may run at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.payloads import dump, load_text

MAX_CONCURRENT_RANGE = (1, 1024)
# A longer name is cut and ends with its digest, to fit an index entry.
MAX_NAME_LENGTH = 300
# How long a job above the limit waits if no run ends before: doubled each time.
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 60.0
_MOST_DOUBLINGS = 10


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
        check_integer("max_concurrent", self.max_concurrent, *MAX_CONCURRENT_RANGE)

    def key_of(self, kind: str, payload: str) -> str:
        """Return the concurrency key of a job, which all jobs under the limit share."""
        if self.key is None:
            return kind
        arguments = load_text(payload)
        value = self.default
        if isinstance(arguments, dict) and self.key in arguments:
            value = dump(arguments[self.key])
        name = f"{kind} {self.key}={value}"
        if len(name) <= MAX_NAME_LENGTH:
            return name
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{name[: MAX_NAME_LENGTH - len(digest)]}{digest}"


def concurrency_wait_s(throttle_attempts: int) -> float:
    """Return how many seconds a job above the limit waits, after earlier snoozes."""
    doublings = min(throttle_attempts, _MOST_DOUBLINGS)
    return float(min(FIRST_WAIT_S * 2**doublings, LONGEST_WAIT_S))
