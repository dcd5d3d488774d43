"""How run times spread: a bar for each range of a logarithmic axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from flask_forge_jobs.dashboard.charts.small import Spark, spark_bars
from flask_forge_jobs.dashboard.charts.ticks import Axis, logarithmic, text
from flask_forge_jobs.model.histograms import CHARTED, Histogram
from flask_forge_jobs.model.sentences import count

BINS = 60
# Ticks, between which there is room for more labels.
_FEW = 4


@dataclass(frozen=True, slots=True)
class Spread:
    """The bars, the labels of their axis, and all in words.

    A label has its place, its words, and whether it may be left out.
    """

    bars: Spark
    labels: Sequence[tuple[str, str, bool]]
    words: str


def spread(histogram: Histogram) -> Spread | None:
    """Return how durations spread; None without any."""
    number = histogram.count
    if not number:
        return None
    shortest, longest = (us / 1000 for us in histogram.percentiles(0, 100))
    axis = logarithmic([shortest, longest])
    p50, p95, p99 = (
        text(round(us / 1000), axis.unit) for us in histogram.percentiles(*CHARTED)
    )
    # Those that failed have no time here.
    runs = count(number, "completed run")
    return Spread(
        spark_bars(_counts(histogram, axis, number)),
        list(_labels(axis)),
        f"{runs}, {p50}"
        if number == 1
        else f"{runs}: half took at most {p50}, 95% {p95}, 99% {p99}",
    )


def _labels(axis: Axis) -> Iterator[tuple[str, str, bool]]:
    """Yield a label for each tick, and between ticks for its double and fivefold."""
    steps = (1, 2, 5) if len(axis.ticks) <= _FEW else (1,)
    for tick, following in pairwise(axis.ticks):
        for at in (tick * step for step in steps):
            if at < following:
                place = f"{100 * axis.share(at):.4g}%"
                yield place, text(at, axis.unit), at != tick
    yield "100%", text(axis.high, axis.unit), False


def _counts(histogram: Histogram, axis: Axis, number: int) -> list[int]:
    """Return how many durations each of the equal parts of the axis has."""
    step = (axis.high / axis.low) ** (1 / BINS)
    limits = [round(1000 * axis.low * step**place) for place in range(1, BINS)]
    # The ends take what lies beyond them.
    up_to = [0, *histogram.counts_up_to(limits), number]
    return [after - before for before, after in pairwise(up_to)]
