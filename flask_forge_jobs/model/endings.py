"""Ending: whether a job that is not done was given up or cancelled."""

from __future__ import annotations

from enum import StrEnum

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown


class Ending(StrEnum):
    """How a job ends without being done; both have the status ``dead``."""

    DEAD = "dead"
    CANCELLED = "cancelled"

    @classmethod
    def parse(cls, value: object, field_name: str = "ending") -> Ending:
        """Return the ending of a text, or raise :class:`InvalidInputError`."""
        try:
            return cls(value)  # type: ignore[arg-type]  # the constructor decides
        except ValueError:
            raise InvalidInputError(
                field_name, f"{shown(value)} is not one of {', '.join(cls)}"
            ) from None
