"""Checks of a new job's fields; like those in :mod:`.bounds`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_seconds, shown
from flask_forge_jobs.model.instants import MAX_INSTANT_US, to_micros

DEFAULT_MAX_ATTEMPTS = 5
MAX_ATTEMPTS_RANGE = (1, 1000)
PRIORITY_RANGE = (-(2**31), 2**31 - 1)
DEDUPE_KEY_LENGTH = 255
DEDUPE_FOR_RANGE = (timedelta(milliseconds=1), timedelta(days=365))
REPLACEABLE = ("payload", "run_at")
_NEEDS_A_KEY = "needs a dedupe_key or dedupe_by_args"
MAX_PAYLOAD_BYTES = 1_048_576
DELAY_RANGE_S = (0, 86_400 * 36_500)
TIMEOUT_RANGE_S = (0.001, 86_400.0 * 365)


def check_payload_size(payload: str) -> None:
    """Check that canonical JSON text is at most 1 MiB long."""
    size = len(payload)  # ASCII, so characters are bytes
    if size > MAX_PAYLOAD_BYTES:
        raise InvalidInputError(
            "payload", f"{size} bytes of JSON exceed {MAX_PAYLOAD_BYTES}"
        )


def check_dedupe_for(dedupe_for: object, dedupe_key: str | None) -> None:
    """Check the window of a dedupe key: a timedelta of 1 ms to 365 days."""
    if not isinstance(dedupe_for, timedelta):
        raise InvalidInputError("dedupe_for", f"{shown(dedupe_for)} is not a timedelta")
    low, high = DEDUPE_FOR_RANGE
    if not low <= dedupe_for <= high:
        raise InvalidInputError("dedupe_for", f"is not within {low} and {high}")
    if dedupe_key is None:
        raise InvalidInputError("dedupe_for", _NEEDS_A_KEY)


def checked_replace(replace: object, dedupe_key: str | None) -> tuple[str, ...]:
    """Return which of :data:`REPLACEABLE` to replace, each once."""
    names = (replace,) if isinstance(replace, str) else replace
    if not isinstance(names, Collection):
        raise InvalidInputError("replace", f"{shown(replace)} is not a list of names")
    for name in names:
        if name not in REPLACEABLE:
            raise InvalidInputError(
                "replace", f"{shown(name)} is not one of {', '.join(REPLACEABLE)}"
            )
    if names and dedupe_key is None:
        raise InvalidInputError("replace", _NEEDS_A_KEY)
    return tuple(name for name in REPLACEABLE if name in names)


def check_run_at(run_at: object) -> None:
    """Check a start time: with a time zone, in the years 1970 to 9999."""
    if not isinstance(run_at, datetime):
        raise InvalidInputError("run_at", f"{shown(run_at)} is not a datetime")
    if run_at.utcoffset() is None:
        raise InvalidInputError("run_at", "has no time zone; pass an aware datetime")
    if not 0 <= to_micros(run_at) <= MAX_INSTANT_US:
        raise InvalidInputError("run_at", "is not within the years 1970 to 9999 (UTC)")


def checked_delay(delay: object, run_at: object) -> timedelta:
    """Return a delay, given in seconds or as a timedelta: 0 to 36,500 days."""
    if run_at is not None:
        raise InvalidInputError("delay", "cannot be combined with run_at")
    if isinstance(delay, bool) or not isinstance(delay, int | float | timedelta):
        raise InvalidInputError(
            "delay", f"{shown(delay)} is neither seconds nor a timedelta"
        )
    if isinstance(delay, timedelta):
        delay = delay.total_seconds()
    low, high = DELAY_RANGE_S
    if not low <= delay <= high:
        raise InvalidInputError(
            "delay", f"{shown(delay)} is not within {low} to {high} seconds"
        )
    return timedelta(seconds=delay)


def check_timeout(timeout_s: object) -> None:
    """Check a time limit: 1 ms to 365 days."""
    check_seconds("timeout_s", timeout_s, *TIMEOUT_RANGE_S)
