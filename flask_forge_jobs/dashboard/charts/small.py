"""Small drawings in tables and tiles: sparklines, range rows and bars of parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.dashboard.charts import paths
from flask_forge_jobs.dashboard.charts.ticks import Axis, cleaned, text

SPARK_HEIGHT = 24
# Room above the highest value and below the lowest, for the stroke.
_MARGIN = 2
# The share of a range row's width at each end that stays free, in percent.
_PADDING = 4.0
_LEAST_VALUES = 3


@dataclass(frozen=True, slots=True)
class Spark:
    """A sparkline: a line above its area, or bars."""

    box: str
    line: str = ""
    area: str = ""
    bars: str = ""


def spark(values: Sequence[float | None], top: float = 0) -> Spark:
    """Return a line over the values, on a scale from 0 to ``top``; gaps stay gaps.

    A ``top`` of 0 is the highest value. Fewer than three values, which have no course,
    are not drawn.
    """
    known = cleaned(values)
    if sum(value is not None for value in known) < _LEAST_VALUES:
        known = [None] * len(known)
    top = top or max((value for value in known if value is not None), default=0) or 1
    room = SPARK_HEIGHT - 2 * _MARGIN
    ys = [
        None
        if value is None
        else SPARK_HEIGHT - _MARGIN - round(min(value / top, 1) * room)
        for value in known
    ]
    box = f"0 0 {max(len(ys) - 1, 1)} {SPARK_HEIGHT}"
    line = paths.line(ys) + paths.dots(ys)
    return Spark(box, line, paths.area(ys, SPARK_HEIGHT))


def spark_bars(values: Sequence[float | None]) -> Spark:
    """Return a bar for each value, on a scale from 0."""
    known = cleaned(values)
    top = max((value for value in known if value is not None), default=0) or 1
    heights = [
        max(round(value / top * SPARK_HEIGHT), 1) if value else None for value in known
    ]
    box = f"-.5 0 {max(len(known), 1)} {SPARK_HEIGHT}"
    return Spark(box, bars=paths.bars(heights, [SPARK_HEIGHT] * len(known)))


@dataclass(frozen=True, slots=True)
class RangeRow:
    """Places of three percentiles on one axis, in percent of its width."""

    p50: str
    p95: str
    p99: str


def range_row(axis: Axis, p50: float, p95: float, p99: float) -> RangeRow:
    """Return the places of percentiles on an axis that all rows share."""
    return RangeRow(*(range_place(axis, value) for value in (p50, p95, p99)))


def range_place(axis: Axis, value: float) -> str:
    """Return the place of a value on the axis of range rows, in percent."""
    return f"{_PADDING + axis.share(value) * (100 - 2 * _PADDING):.4g}%"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar, in percent of the whole."""

    x: str
    width: str


def parts(numbers: Sequence[float], whole: float) -> list[Part]:
    """Return bars that stand one behind the other; together at most the whole."""
    shown, end = [], 0.0
    for number in cleaned(numbers):
        width = min((number or 0) / whole * 100, 100 - end) if whole > 0 else 0.0
        shown.append(Part(f"{end:.4g}%", f"{width:.4g}%"))
        end += width
    return shown


def range_labels(axis: Axis) -> list[tuple[str, str]]:
    """Return the place of each tick of range rows, and its words."""
    return [(range_place(axis, tick), text(tick, axis.unit)) for tick in axis.ticks]
