"""Geometry of SVG paths. x is the number of a bucket; a missing value is a gap.

Coordinates are whole and relative, so a path of a hundred points has about 500 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Ys = Sequence[int | None]
Run = tuple[int, Sequence[int]]
# The width of a bar, in buckets.
_BAR = 0.74


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
    """Return the path of the areas between a line and the bottom; of a dot, a bar."""
    path = []
    for x, values in runs(ys):
        left, steps = _top(x, values)
        path.append(f"M{left} {values[0]}{steps}V{bottom}H{left}z")
    return "".join(path)


def band(lower: Ys, upper: Ys) -> str:
    """Return the path of the areas between two lines; of two dots, a bar.

    Gaps are those of either line.
    """
    known = [
        x
        for x, (low, high) in enumerate(zip(lower, upper, strict=True))
        if low is not None and high is not None
    ]
    marks = set(known)
    path = []
    for x, lows in runs([y if x in marks else None for x, y in enumerate(lower)]):
        highs = [y for y in upper[x : x + len(lows)] if y is not None]
        left, steps = _top(x, lows)
        back = _steps(highs[::-1], -1) or f"H{left}"
        path.append(f"M{left} {lows[0]}{steps}V{highs[-1]}{back}z")
    return "".join(path)


def bars(heights: Ys, bottoms: Sequence[int]) -> str:
    """Return the path of upright strokes that begin at their bottoms."""
    return "".join(
        f"M{x} {bottom}v-{height}"
        for x, (height, bottom) in enumerate(zip(heights, bottoms, strict=True))
        if height
    )


def _top(x: int, values: Sequence[int]) -> tuple[str, str]:
    """Return the left end of an area and its way to the right.

    That of a value between two gaps is as wide as a bar.
    """
    if len(values) > 1:
        return str(x), _steps(values)
    return f"{x - _BAR / 2:g}", f"h{_BAR}"


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
