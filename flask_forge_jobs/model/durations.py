"""Durations in words: ``0.4 ms``, ``1.3 s``, ``42 s``, ``4 min``, ``1 h 20 min``."""

from __future__ import annotations

_SECOND_MS = 1000.0
_FEW_MS = 10.0
_NEXT_TO_NOTHING_MS = 0.1
_FEW_S = 10.0
_MINUTE_S = 60
_HOUR_MIN = 60
_DAY_H = 24


def duration(seconds: float) -> str:
    """Return a duration in words, rounded to its two largest units at most.

    A negative one, which two clocks may make, is ``less than 0.1 ms``.
    """
    ms = seconds * _SECOND_MS
    if ms < _NEXT_TO_NOTHING_MS:
        return "less than 0.1 ms"
    if ms < _FEW_MS:
        return f"{ms:.1f} ms"
    if round(ms) < _SECOND_MS:
        return f"{ms:.0f} ms"
    if seconds < _FEW_S:
        return f"{seconds:.1f} s"
    if round(seconds) < _MINUTE_S:
        return f"{seconds:.0f} s"
    minutes = round(seconds / _MINUTE_S)
    if minutes < _HOUR_MIN:
        return f"{minutes} min"
    hours = round(minutes / _HOUR_MIN)
    if minutes < _HOUR_MIN * _DAY_H:
        return _two(minutes, _HOUR_MIN, "h", "min")
    return _two(hours, _DAY_H, "d", "h")


def _two(count: int, per_unit: int, unit: str, smaller_unit: str) -> str:
    whole, rest = divmod(count, per_unit)
    return f"{whole} {unit} {rest} {smaller_unit}" if rest else f"{whole} {unit}"
