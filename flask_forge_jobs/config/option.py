"""One key of the table of settings, as a field of its dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, cast

from flask_forge_jobs.config import checks

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option:
    """A row of the table, with the accepted values in words."""

    key: str
    default: object
    accepts: str
    unit: str
    meaning: str
    secret: bool


def option(
    default: T,
    check: checks.Check,
    meaning: str,
    *,
    unit: str = "",
    secret: bool = False,
) -> T:
    """Return the field of a key, with its row of the table.

    Args:
        default: The value of an application that does not set the key.
        check: Reads a value, or refuses it.
        meaning: For the reference page.
        unit: That of a number, in words.
        secret: Whether the value is shown nowhere.
    """
    row = {
        "check": check.read,
        "accepts": check.words,
        "meaning": meaning,
        "unit": unit,
        "secret": secret,
    }
    if isinstance(default, dict):
        return cast("T", field(default_factory=dict, metadata=row))
    return field(default=default, metadata=row)
