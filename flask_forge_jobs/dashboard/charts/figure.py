"""A chart as the macros show it: labels, shapes, legend, summary and table.

A drawing is as many units wide as it has buckets, and the browser stretches it; text
stays outside of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from werkzeug.utils import cached_property

from flask_forge_jobs.dashboard.charts import paths
from flask_forge_jobs.dashboard.charts.instants import (
    TimeLabel,
    bucket_text,
    names_days,
    time_labels,
)
from flask_forge_jobs.dashboard.charts.ticks import (
    LARGEST,
    Axis,
    Unit,
    cleaned,
    durations,
    linear,
    text,
)

HEIGHT = 168
STRIP_HEIGHT = 40
# In percent, from where on a label makes room for that of the end: on narrow charts,
# and on all.
_LAST_PLACES, _LAST_PLACES_OF_SMALL = (82, 90), (68, 68)
# An axis holds so many times its highest value, whose stroke stays inside.
_HEADROOM = 1.05
# A rate of less is a burst, or the count so far, which falls every minute.
_SHORT_S = 60
_DASHES = {"dashed": " ds", "dotted": " dd"}
_PERCENTILES = (("p50", ()), ("p95", ("thin", "dashed")), ("p99", ("thin", "dotted")))
Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Span:
    """The buckets of a chart: ``count`` of them, each ``width_s`` seconds wide.

    The last one ``is_open`` if its time is not over: it has a part of its figures.
    """

    start: datetime
    width_s: int
    count: int
    is_open: bool = False

    @property
    def end(self) -> datetime:
        """The end of the last bucket."""
        return self.start + timedelta(seconds=self.width_s * self.count)

    def at(self, number: int) -> datetime:
        """Return the start of a bucket."""
        return self.start + timedelta(seconds=self.width_s * number)


@dataclass(frozen=True, slots=True)
class Line:
    """One series; ``tone`` is the name of a colour, such as ``green``.

    ``look`` may have ``area``, ``thin``, and ``dashed`` or ``dotted``. A series that
    ``is_off`` is drawn only on demand.
    """

    name: str
    tone: str
    values: Values
    look: Collection[str] = ()
    is_off: bool = False

    def __post_init__(self) -> None:
        # Once, since each part of a chart reads them.
        object.__setattr__(self, "values", cleaned(self.values))

    @property
    def dash(self) -> str:
        """The class of its strokes, after a space; empty for a line without gaps."""
        return next((_DASHES[look] for look in self.look if look in _DASHES), "")


def percentiles(times: Iterable[Values | None]) -> list[Line]:
    """Return the lines of p50, p95 and p99; a bucket of None is a gap."""
    columns = [each or (None, None, None) for each in times]
    return [
        Line(name, "blue", [each[place] for each in columns], look)
        for place, (name, look) in enumerate(_PERCENTILES)
    ]


@dataclass(frozen=True, slots=True)
class Shape:
    """A path and its classes."""

    classes: str
    path: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the legend; ``text`` is its value at the time that the legend names.

    ``toggled`` is the parameter of the address that hides or shows the series.
    """

    name: str
    classes: str
    text: str
    is_hidden: bool
    toggled: Sequence[str]


@dataclass(frozen=True)
class Figure:
    """A chart of lines, or a band of percentiles, and perhaps a strip of bars.

    Args:
        name: Its id in the page.
        title: Its heading.
        unit: Of its values.
        span: Its buckets.
        lines: The series; of a band, its percentiles from the lowest on.
        bars: Series of the strip, the first at the bottom; they share a scale.
        toggled: Of the address: ``<chart>:<series>`` of each that is not as usual.
        is_band: Whether the lines bound a band.
        least: The axis ends at or above this value.
        no_rates: What to say of rates that are all zero; None of other values.
    """

    name: str
    title: str
    unit: Unit
    span: Span
    lines: Sequence[Line]
    bars: Sequence[Line] = ()
    toggled: Sequence[str] = ()
    is_band: bool = False
    least: float = 0
    no_rates: str | None = None
    height: int = field(default=HEIGHT)

    @cached_property
    def axis(self) -> Axis:
        """The axis of the lines."""
        lines = [self._apart(line.values) for line in self._drawn(self.lines)]
        values = [value for closed, _ in lines for value in closed]
        # The open bucket changes no axis, unless all others are zero or unknown.
        values = values if any(values) else [value for _, value in lines]
        if self.unit is not Unit.PERCENT:
            known = [value for value in values if value is not None]
            values.append(min(_HEADROOM * max(known, default=0), LARGEST))
        max_steps = 5 if self.height == HEIGHT else 3
        if self.is_band:
            return durations(values, max_steps)
        return linear(values, self.unit, max_steps, self.least)

    @cached_property
    def bars_axis(self) -> Axis:
        """The axis of the strip, with a tick at its top."""
        stacks = zip(*(bar.values for bar in self._drawn(self.bars)))  # noqa: B905
        return linear([sum(v or 0 for v in stack) for stack in stacks], self.unit, 2)

    @cached_property
    def is_empty(self) -> bool:
        """Whether it has no value at all; of rates, none above zero."""
        if self.no_rates:
            return not any(value for each in self._series for value in each.values)
        return not self._known

    @property
    def lack(self) -> str:
        """What to say of a chart that has no course to show; empty of others."""
        if self.is_empty:
            return self.no_rates or "No figures in this range"
        return "One sample in this range" if len(self._known) == 1 else ""

    @property
    def box(self) -> str:
        """The ``viewBox`` of the lines; the first bucket is around 0."""
        return f"-.5 0 {max(self.span.count, 1)} {self.height}"

    @property
    def strip_box(self) -> str:
        """The ``viewBox`` of the strip."""
        return f"-.5 0 {max(self.span.count, 1)} {STRIP_HEIGHT}"

    @property
    def grid(self) -> str:
        """The path of a line at each tick; of an empty chart, at its foot."""
        width = max(self.span.count, 1)
        ticks = [self.axis.low] if self.is_empty else self.axis.ticks
        return "".join(
            f"M-.5 {self.axis.y(tick, self.height)}h{width}" for tick in ticks
        )

    def labels(self) -> list[tuple[str, str]]:
        """Return the place of each tick and its words; none of an empty chart."""
        return [] if self.is_empty else self.axis.labels()

    def shapes(self) -> Iterator[Shape]:
        """Yield the paths of the lines, those at the back first.

        The open bucket is a ring that no line reaches.
        """
        drawn = [] if self.is_empty else list(self._drawn(self.lines))
        parts = [self._apart(line.values) for line in drawn]
        ys = [self._ys(closed) for closed, _ in parts]
        if self.is_band:
            for place in range(len(drawn) - 1, 0, -1):
                path = paths.band(ys[place - 1], ys[place])
                yield Shape(f"bd{place} c-{drawn[place].tone}", path)
        for line, heights, (_, rest) in zip(drawn, ys, parts, strict=True):
            if "area" in line.look:
                yield Shape(f"ar c-{line.tone}", paths.area(heights, self.height))
            classes = ("ln th" if "thin" in line.look else "ln") + line.dash
            yield Shape(f"{classes} c-{line.tone}", paths.line(heights))
            if alone := paths.dots(heights):
                yield Shape(f"ln dt c-{line.tone}", alone)
            if rest is not None:
                ring = f"M{self.span.count - 1} {self.axis.y(rest, self.height)}h0"
                yield Shape(f"ln dt c-{line.tone}", ring)
                yield Shape("ln op", ring)

    def strip(self) -> Iterator[Shape]:
        """Yield the paths of the bars, each on top of those before."""
        floors = [STRIP_HEIGHT] * self.span.count
        for bar in self._drawn(self.bars):
            heights: list[int | None] = []
            for value, floor in zip(bar.values, floors, strict=True):
                height = round(self.bars_axis.share(value or 0) * STRIP_HEIGHT)
                heights.append(min(max(height, 1), floor) if value else None)
            yield Shape(f"bs c-{bar.tone}", paths.bars(heights, floors))
            pairs = zip(floors, heights, strict=True)
            floors = [floor - (height or 0) for floor, height in pairs]

    def times(self) -> list[TimeLabel]:
        """Return the labels of the axis of time; one says where it is open."""
        labels = time_labels(self.span.start, self.span.end)
        if not self.span.is_open:
            return labels
        end = TimeLabel("100", "so far", "end", is_extra=False)
        wide, last = _LAST_PLACES if self.height == HEIGHT else _LAST_PLACES_OF_SMALL
        before = [each for each in labels if float(each.place) < last]
        return [
            replace(each, is_extra=each.is_extra or float(each.place) >= wide)
            for each in before
        ] + [end]

    def legend(self) -> Iterator[Entry]:
        """Yield an entry for each series, hidden ones too."""
        bars, last = {bar.name for bar in self.bars}, self._last
        for each in self._series:
            shape = "sq" if each.name in bars else each.dash
            yield Entry(
                each.name,
                f"{shape} c-{each.tone}".strip(),
                text(None if last is None else each.values[last], self.unit),
                self.hides(each),
                self._toggled_with(each),
            )

    @property
    def legend_time(self) -> str:
        """The bucket whose values the legend shows; empty without any."""
        return "" if self._last is None else self._name(self._last)

    @property
    def bars_top(self) -> str:
        """The value at the top of the strip, in words; of an empty strip nothing."""
        has_bars = any(value for bar in self.bars for value in bar.values)
        return text(self.bars_axis.high, self.unit) if has_bars else ""

    def tables_toggled(self, tables: Sequence[str]) -> list[str]:
        """Return the charts that show their table after a click on that of this."""
        others = [name for name in tables if name != self.name]
        return others if self.name in tables else [*others, self.name]

    @property
    def x(self) -> str:
        """The first bucket, the width and the number of buckets, for the script.

        Times are in milliseconds.
        """
        span = self.span
        return f"{span.start.timestamp() * 1000:.0f},{span.width_s * 1000},{span.count}"

    @property
    def data(self) -> str:
        """The values of each entry of the legend in words, for the script."""
        return ";".join(
            "|".join(
                "" if value is None else text(value, self.unit) for value in each.values
            )
            for each in self._series
        )

    def summary(self) -> str:
        """Return the chart in a sentence, for readers who do not see it."""
        span = self.span
        start = bucket_text(span.start, 60, names_day=True)
        end = bucket_text(span.end, 60, names_day=True)
        head = f"{self.title}, {start} to {end} UTC"
        if self.is_empty:
            return f"{head}: {self.lack.lower()}."
        words = (self._in_words(each) for each in self._drawn(self._series))
        return f"{head}: {'; '.join(words)}."

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the name of each bucket and its values in words, the last first."""
        series = [each.values for each in self._series]
        for number in range(self.span.count - 1, -1, -1):
            shown = [text(values[number], self.unit) for values in series]
            yield self._name(number), shown

    def _name(self, number: int) -> str:
        span = self.span
        days = names_days(span.start, span.end)
        name = bucket_text(span.at(number), span.width_s, names_day=days)
        return f"{name} so far" if self._is_open(number) else name

    @property
    def _series(self) -> Sequence[Line]:
        return (*self.lines, *reversed(self.bars))

    def _drawn(self, series: Sequence[Line]) -> Iterator[Line]:
        return (each for each in series if not self.hides(each))

    def hides(self, each: Line) -> bool:
        """Return whether a series is not drawn."""
        return each.is_off != (f"{self.name}:{each.name}" in self.toggled)

    def _toggled_with(self, each: Line) -> list[str]:
        key = f"{self.name}:{each.name}"
        others = [name for name in self.toggled if name != key]
        return others if key in self.toggled else [*others, key]

    def _apart(self, values: Values) -> tuple[list[float | None], float | None]:
        """Return the values without the open one, and the open one if it is drawn."""
        if not (self.span.is_open and values):
            return [*values], None
        is_short = self.no_rates is not None and self.span.width_s <= _SHORT_S
        return [*values[:-1], None], None if is_short else values[-1]

    @cached_property
    def _known(self) -> list[int]:
        """The buckets with a value."""
        columns = zip(*(each.values for each in self._series))  # noqa: B905
        return [
            number
            for number, values in enumerate(columns)
            if any(value is not None for value in values)
        ]

    @cached_property
    def _last(self) -> int | None:
        """The newest bucket with a value, the open one only if no other has any."""
        closed = [number for number in self._known if not self._is_open(number)]
        return next(reversed(closed or self._known), None)

    def _is_open(self, number: int) -> bool:
        return self.span.is_open and number == self.span.count - 1

    def _ys(self, values: Values) -> list[int | None]:
        return [
            None if value is None else self.axis.y(value, self.height)
            for value in values
        ]

    def _in_words(self, each: Line) -> str:
        closed, _ = self._apart(each.values)
        known = [value for value in closed if value is not None]
        # As the legend, which takes the open bucket if no other has a value.
        known = known or [value for value in each.values if value is not None]
        if not known:
            return f"{each.name} without figures"
        low, high = text(min(known), self.unit), text(max(known), self.unit)
        if low == high:
            has_gaps = len(known) < self.span.count - self.span.is_open
            return f"{each.name} {low} {'where known' if has_gaps else 'throughout'}"
        last = None if self._last is None else each.values[self._last]
        return f"{each.name} from {low} to {high}, last {text(last, self.unit)}"
