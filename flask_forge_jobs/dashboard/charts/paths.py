"""Geometry of SVG paths. x is the number of a bucket; a missing value is a gap.

Coordinates are whole and relative, so a path of a hundred points has about 500 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Ys = Sequence[int | None]
Run = tuple[int, Sequence[int]]


def runs(ys: Ys) -> list[Run]:
    """Return the first bucket and the values of each stretch without a gap."""
    stretches: list[tuple[int, list[int]]] = []
    is_open = False
    for x, y in enumerate(ys):
        if y is None:
            is_open = False
        elif is_open:
            stretches[-1][1].append(y)
        else:
            stretches.append((x, [y]))
            is_open = True
    return [*stretches]


def line(ys: Ys) -> str:
    """Return the path of a line."""
    return "".join(
        f"M{x} {values[0]}{_steps(values)}" for x, values in runs(ys) if len(values) > 1
    )


def dots(ys: Ys) -> str:
    """Return the path of dots: the values between two gaps, which no line shows."""
    return "".join(f"M{x} {values[0]}h0" for x, values in runs(ys) if len(values) == 1)


def area(ys: Ys, bottom: int) -> str:
    """Return the path of the areas between a line and the bottom."""
    return "".join(
        f"M{x} {values[0]}{_steps(values)}V{bottom}H{x}z"
        for x, values in runs(ys)
        if len(values) > 1
    )


def band(lower: Ys, upper: Ys) -> str:
    """Return the path of the areas between two lines; gaps are those of either."""
    known = [
        x
        for x, (low, high) in enumerate(zip(lower, upper, strict=True))
        if low is not None and high is not None
    ]
    marks = set(known)
    path = []
    for x, lows in runs([y if x in marks else None for x, y in enumerate(lower)]):
        highs = [y for y in upper[x : x + len(lows)] if y is not None]
        if len(lows) > 1:
            back = _steps(highs[::-1], -1)
            path.append(f"M{x} {lows[0]}{_steps(lows)}V{highs[-1]}{back}z")
    return "".join(path)


def bars(heights: Ys, bottoms: Sequence[int]) -> str:
    """Return the path of upright strokes that begin at their bottoms."""
    return "".join(
        f"M{x} {bottom}v-{height}"
        for x, (height, bottom) in enumerate(zip(heights, bottoms, strict=True))
        if height
    )


def _steps(values: Sequence[int], dx: int = 1) -> str:
    """Return the steps between values, one bucket each."""
    if len(values) < 2:  # noqa: PLR2004
        return ""
    deltas = [after - before for before, after in pairwise(values)]
    words = [f"{dx}{dy}" if dy < 0 else f"{dx} {dy}" for dy in deltas]
    joined = words[0]
    for word in words[1:]:
        joined += word if word.startswith("-") else f" {word}"
    return f"l{joined}"
