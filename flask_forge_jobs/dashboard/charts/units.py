"""Units of charts, and their values in words."""

from __future__ import annotations

import math
from enum import StrEnum

from flask_forge_jobs.dashboard import words


class Unit(StrEnum):
    """The unit of the values of a chart."""

    COUNT = "n"
    MILLISECONDS = "ms"
    BYTES = "b"
    PERCENT = "pct"


def text(value: float | None, unit: Unit) -> str:
    """Return a value in words: ``1,158``, ``3.4s``, ``2.1 GiB``, ``4.7%``.

    A missing one, or one that is no number, is a dash.
    """
    if value is None or not math.isfinite(value):
        return words.NOTHING
    if unit is Unit.MILLISECONDS:
        return words.span(value / 1000)
    if unit is Unit.BYTES:
        return words.size(value)
    return words.number(value, 1) + ("%" if unit is Unit.PERCENT else "")
