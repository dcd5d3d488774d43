"""IANA time zones by name, checked against a list so that no name becomes a path."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_text, shown

DEFAULT_TIME_ZONE = "UTC"
MAX_TIME_ZONE_LENGTH = 64


def check_time_zone(value: object, field: str = "timezone") -> str:
    """Return the name of an IANA zone; names are case-sensitive."""
    name = check_text(field, value, MAX_TIME_ZONE_LENGTH)
    if name not in _known_names():
        raise InvalidInputError(
            field, f"{shown(name)} is not a time zone such as UTC or Europe/Berlin"
        )
    return name


def load_time_zone(name: str) -> ZoneInfo:
    """Return a zone by its checked name, preferably from the host's newer data."""
    return ZoneInfo(name)


@cache
def _known_names() -> frozenset[str]:
    # ZoneInfo would open any file that a name leads to, and available_timezones() reads
    # the whole database, which takes too long for a request.
    return frozenset((files("tzdata") / "zones").read_text("utf-8").split())
