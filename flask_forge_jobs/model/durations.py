"""Durations as text: ``0.4ms``, ``1.3s``, ``42s``, ``4m``, ``1h 20m``, ``2d 3h``."""

from __future__ import annotations

_SECOND_MS = 1000.0
_FEW_MS = 10.0
_NEXT_TO_NOTHING_MS = 0.1
_FEW_S = 10.0
_MINUTE_S = 60
_HOUR_MIN = 60
_DAY_H = 24


def duration(seconds: float) -> str:
    """Return a duration as text, in its two largest units at most.

    From ten seconds on the rest is left out, as on a clock: two texts about one age
    agree, however many units they have. A negative one, which two clocks may make, is
    ``less than 0.1ms``.
    """
    ms = seconds * _SECOND_MS
    if ms < _NEXT_TO_NOTHING_MS:
        return "less than 0.1ms"
    if ms < _FEW_MS:
        return f"{_short(ms)}ms"
    if round(ms) < _SECOND_MS:
        return f"{ms:.0f}ms"
    if seconds < _FEW_S:
        return f"{_short(seconds)}s"
    if seconds < _MINUTE_S:
        return f"{int(seconds)}s"
    minutes = int(seconds // _MINUTE_S)
    if minutes < _HOUR_MIN:
        return f"{minutes}m"
    if minutes < _HOUR_MIN * _DAY_H:
        return _two(minutes, _HOUR_MIN, "h", "m")
    return _two(minutes // _HOUR_MIN, _DAY_H, "d", "h")


def countdown(seconds: float) -> str:
    """Return how long something still lasts: minutes have their seconds, too."""
    if _MINUTE_S <= seconds < _MINUTE_S * _HOUR_MIN:
        return _two(int(seconds), _MINUTE_S, "m", "s")
    return duration(seconds)


def elapsed(seconds: float) -> str:
    """Return an age as text, in whole seconds as on a clock: ``under 1s``, ``3s``."""
    whole = int(seconds)
    return duration(whole) if whole > 0 else "under 1s"


def _two(count: int, per_unit: int, unit: str, smaller_unit: str) -> str:
    whole, rest = divmod(count, per_unit)
    return f"{whole}{unit} {rest}{smaller_unit}" if rest else f"{whole}{unit}"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
