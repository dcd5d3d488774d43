"""Instants: whole microseconds since the Unix epoch in storage, aware UTC outside.

One integer form on both backends round-trips exactly, compares as a number, needs no
driver conversion on the hot path, and always has a zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)
MILLISECOND_US = 1000
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 9999-12-31T23:59:59.999999Z, the last instant that every reader supports.
MAX_INSTANT_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // MICROSECOND
NOT_IN_YEARS = "is not within the years 1970 to 9999 (UTC)"
# Rows of a list repeat their instants, a list that is polled repeats its rows, and the
# 2,000 buckets of several series begin at the same instants.
KNOWN_INSTANTS = 2048


def to_micros(instant: datetime) -> int:
    """Return an aware instant as microseconds since the epoch."""
    return (instant - _EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return microseconds since the epoch as an aware instant in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def optional_from_micros(micros: int | None) -> datetime | None:
    """Like :func:`from_micros`, passing ``None`` through."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def optional_to_micros(instant: datetime | None) -> int | None:
    """Like :func:`to_micros`, passing ``None`` through."""
    return None if instant is None else to_micros(instant)


def whole_milliseconds(start: datetime | None, end: datetime | None) -> int | None:
    """Return the whole milliseconds between two instants.

    None if one is missing, or if they are in the wrong order because a clock was set
    back.
    """
    if start is None or end is None or end < start:
        return None
    return (end - start) // _MILLISECOND


@lru_cache(KNOWN_INSTANTS)
def format_instant(instant: datetime) -> str:
    """Return an instant in UTC as RFC 3339 text with the shortest exact fraction.

    That has 0, 3 or 6 digits. The reference writes the same form.
    """
    text = instant.isoformat()  # four times as fast as strftime
    micros = instant.microsecond
    if micros == 0:
        return f"{text[:19]}Z"
    return f"{text[:26]}Z" if micros % 1000 else f"{text[:23]}Z"
