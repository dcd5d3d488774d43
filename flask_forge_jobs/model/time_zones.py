"""IANA time zones by name, from a list: a name never becomes a path."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_text, shown

DEFAULT_TIME_ZONE = "UTC"
MAX_TIME_ZONE_LENGTH = 64


def check_time_zone(value: object, field: str = "timezone") -> str:
    """Return ``value`` if it names a zone of the IANA database.

    Raises:
        InvalidInputError: Not text, or no such zone; names are case-sensitive.
    """
    name = check_text(field, value, MAX_TIME_ZONE_LENGTH)
    if name not in _known_names():
        raise InvalidInputError(
            field, f"{shown(name)} is not a time zone such as UTC or Europe/Berlin"
        )
    return name


def load_time_zone(name: str) -> ZoneInfo:
    """Return the rules of a zone whose name has passed :func:`check_time_zone`.

    The host's own data come first, as they are often newer than the package's.
    """
    return ZoneInfo(name)


@cache
def _known_names() -> frozenset[str]:
    # ZoneInfo would open whatever file a name leads to; available_timezones() reads
    # the whole database, which takes longer than a request may.
    return frozenset((files("tzdata") / "zones").read_text("utf-8").split())
