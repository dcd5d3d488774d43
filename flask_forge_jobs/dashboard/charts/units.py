"""Units of charts, and their values in words.

The script of the charts writes the same words, from the same rules.
"""

from __future__ import annotations

import math
from enum import StrEnum

# Largest first, in milliseconds.
_DURATIONS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000))
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_KIB = 1024
_FEW, _MANY = 10, 100
_MISSING = "—"


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
        return _MISSING
    if unit is Unit.MILLISECONDS:
        return duration(value)
    if unit is Unit.BYTES:
        return size(value)
    if unit is Unit.PERCENT:
        return f"{number(value)}%"
    return number(value)


def number(value: float) -> str:
    """Return a number: whole from 10 on, else with at most one decimal."""
    return _rounded(value, _FEW)


def duration(ms: float) -> str:
    """Return a duration of milliseconds: ``0ms``, ``122ms``, ``3.4s``, ``2h 9m``.

    It has the two largest units, and a decimal below a minute.
    """
    ms = max(ms, 0.0)
    if _half_up(ms) < _DURATIONS[-1][1]:
        return f"{_half_up(ms)}ms"
    seconds = _half_up(ms / 100) / 10
    if seconds < 60:  # noqa: PLR2004  # of a minute
        return f"{seconds:g}s"
    rest = _half_up(ms / 1000) * 1000
    for place, (name, length) in enumerate(_DURATIONS):
        if rest >= length:
            whole, rest = divmod(rest, length)
            words = f"{whole:,}{name}"
            if place + 1 < len(_DURATIONS):
                below, width = _DURATIONS[place + 1]
                count = rest // width
                words = f"{words} {count}{below}" if count else words
            return words
    return f"{seconds:g}s"


def size(value: float) -> str:
    """Return bytes in powers of two: ``512 B``, ``1.5 KiB``, ``2 GiB``."""
    value = max(value, 0.0)
    place = 0
    while _half_up(value) >= _KIB and place + 1 < len(_BYTE_UNITS):
        value /= _KIB
        place += 1
    return f"{_rounded(value, _MANY)} {_BYTE_UNITS[place]}"


def _rounded(value: float, whole_from: int) -> str:
    """Return a number with a decimal, if it is below a limit and has one."""
    tenths = _half_up(value * 10)
    if tenths % 10 and tenths < whole_from * 10:
        return f"{tenths / 10:.1f}"
    return f"{_half_up(value):,}"


def _half_up(value: float) -> int:
    """Round as JavaScript does."""
    return math.floor(value + 0.5)
