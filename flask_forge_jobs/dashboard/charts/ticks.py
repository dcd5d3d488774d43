"""Units of values, their words, and axes with ticks that are round in their unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flask_forge_jobs.dashboard import words

_STEPS = 5
_S, _MIN, _H, _D = 1000, 60_000, 3_600_000, 86_400_000
_DURATION_STEPS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(count * _S for count in (1, 2, 5, 10, 15, 30)),
    *(count * _MIN for count in (1, 2, 5, 10, 15, 30)),
    *(count * _H for count in (1, 2, 3, 6, 12)),
    *(count * _D for count in (1, 2, 7)),
)
# Of a logarithmic axis of durations; after a day, each is ten times the one before.
_DECADES = (1, 10, 100, _S, 10 * _S, _MIN, 10 * _MIN, _H, _D)
# An axis is logarithmic if the largest value is this many times the smallest.
_DECADES_APART = 50.0
# Beyond it a float may not tell one tick from the next.
LARGEST = 1e15


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


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from ``low``, its first tick, to ``high``, its last one."""

    ticks: Sequence[float]
    unit: Unit
    is_log: bool = False

    @property
    def low(self) -> float:
        """The value at its bottom."""
        return self.ticks[0]

    @property
    def high(self) -> float:
        """The value at its top."""
        return self.ticks[-1]

    def share(self, value: float) -> float:
        """Return the place of a value, from 0 at the bottom to 1 at the top."""
        low, high = self.ticks[0], self.ticks[-1]
        if not low <= value <= high:
            value = min(max(value, low), high)
        if self.is_log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    def y(self, value: float, height: int) -> int:
        """Return the place of a value in a drawing, counted from its top."""
        return height - round(self.share(value) * height)

    def labels(self) -> list[tuple[str, str]]:
        """Return the place of each tick from the top, in percent, and its words."""
        return [
            (
                f"{100 - 100 * self.share(tick):.4g}",
                text(tick, self.unit) if tick else "0",
            )
            for tick in self.ticks
        ]


def cleaned(values: Iterable[float | None]) -> list[float | None]:
    """Return the values, None for each infinite one or NaN, and 0 for negative ones."""
    return [
        value if value is not None and 0 <= value <= LARGEST else _cleaned(value)
        for value in values
    ]


def _cleaned(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return min(max(value, 0), LARGEST)


def linear(
    values: Iterable[float | None],
    unit: Unit,
    max_steps: int = _STEPS,
    least: float = 0,
) -> Axis:
    """Return an axis from 0 to a round value at or above all values.

    Args:
        values: All that it must show; None, NaN and infinities count as missing.
        unit: Determines which steps are round.
        max_steps: How many steps it has at most.
        least: It ends at or above this value.
    """
    highest = max((v for v in cleaned(values) if v is not None), default=0.0)
    highest = max(highest, least)
    step: float = 1
    if highest > 0:
        step = next(step for step in _round_steps(unit) if highest <= step * max_steps)
    count = max(math.ceil(highest / step), 1)
    return Axis([step * number for number in range(count + 1)], unit)


def logarithmic(values: Iterable[float | None]) -> Axis:
    """Return a logarithmic axis of durations that ends at round values.

    A value below a millisecond, 0 too, lies at its bottom.
    """
    known = [value for value in cleaned(values) if value]
    lowest, highest = min(known, default=1.0), max(known, default=1.0)
    ticks: list[float] = []
    for tick in _decades():
        if tick <= lowest:
            ticks = [tick]
        else:
            ticks.append(tick)
        if tick >= highest and len(ticks) > 1:
            break
    return Axis(ticks or [1, 10], Unit.MILLISECONDS, is_log=True)


def durations(values: Sequence[float | None], max_steps: int = _STEPS) -> Axis:
    """Return an axis of durations, a logarithmic one if they are far apart.

    One that is linear has at most ``max_steps`` steps.
    """
    known = [value for value in cleaned(values) if value]
    if known and max(known) >= _DECADES_APART * max(min(known), 1.0):
        return logarithmic(values)
    return linear(values, Unit.MILLISECONDS, max_steps)


def _round_steps(unit: Unit) -> Iterator[float]:
    """Yield the steps of a unit, the smallest first, without end."""
    if unit is Unit.BYTES:
        yield from (2**power for power in range(1100))
    if unit is Unit.MILLISECONDS:
        yield from _DURATION_STEPS
        yield from (_D * step for step in _one_two_five(1) if step > 7)  # noqa: PLR2004
    yield from _one_two_five(-1)


def _one_two_five(power: int) -> Iterator[float]:
    while True:
        for digit in (1, 2, 5):
            yield digit * 10**power if power >= 0 else digit / 10**-power
        power += 1


def _decades() -> Iterator[float]:
    yield from _DECADES
    tick = _DECADES[-1]
    while True:
        tick *= 10
        yield tick
