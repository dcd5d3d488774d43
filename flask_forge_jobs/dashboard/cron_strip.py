"""The strip of a schedule: its firings on an axis that all schedules share.

One unit of the drawing is a minute. Firings that lie closer together than a mark is
wide are one bar.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from flask_forge_jobs.handlers.cron_history import FiringsWindow, ScheduleFirings
from flask_forge_jobs.model.jobs import UNSUCCESSFUL

_TICK_H = 6
# Minutes around now, and at both ends, that have no room for a label.
_NEAR_NOW, _NEAR_END = 180, 60
# Marks of which so many would fill the axis touch on a narrow screen.
_TOUCHING_MARKS = 85
_MINUTE = timedelta(minutes=1)
_HEIGHT = 33


@dataclass(frozen=True, slots=True)
class Strip:
    """The drawing of one schedule: paths, empty where there is nothing to draw.

    ``ran``, ``failed`` and ``to_come`` are strokes; ``*_bar`` are strokes along the
    axis in place of many marks. ``text`` says the same for readers.
    """

    ran: str
    ran_bar: str
    failed: str
    to_come: str
    to_come_bar: str
    text: str

    @property
    def is_empty(self) -> bool:
        """Whether there is no firing on the axis."""
        return not (self.ran or self.ran_bar or self.to_come or self.to_come_bar)


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis of all strips, ``width`` units long, with a tick every six hours.

    ``labels`` are the places, in percent, and the words of those ticks that have room.
    """

    start: datetime
    width: int
    now: int
    ticks: Sequence[int]
    labels: Sequence[tuple[str, str]]


def axis(window: FiringsWindow) -> Axis:
    """Return the axis of a window."""
    width = _minutes(window.end - window.start)
    now = _minutes(window.now - window.start)
    midnight = window.start.replace(hour=0, minute=0, second=0, microsecond=0)
    count = 24 * (window.end - midnight).days // _TICK_H + 24 // _TICK_H
    marks = [midnight + timedelta(hours=_TICK_H * each) for each in range(count)]
    ticks = {
        _minutes(at - window.start): f"{at:%H:%M}" if at.hour else f"{at:%a}"
        for at in marks
        if window.start <= at <= window.end
    }
    labels = [
        (f"{100 * place / width:.4g}", text)
        for place, text in ticks.items()
        if abs(place - now) >= _NEAR_NOW and _NEAR_END <= place <= width - _NEAR_END
    ]
    labels.append((f"{100 * now / width:.4g}", "now"))
    return Axis(window.start, width, now, list(ticks), labels)


def strip(firings: ScheduleFirings, along: Axis) -> Strip:
    """Return the drawing of a schedule's firings."""
    failed = [
        along_axis(fired.at, along)
        for fired in firings.fired
        if fired.status in UNSUCCESSFUL
    ]
    ran = [along_axis(fired.at, along) for fired in firings.fired]
    to_come = [along_axis(at, along) for at in firings.to_come]
    first_ran = 0 if firings.fired_cut else None
    last_to_come = along.width if firings.to_come_cut else None
    touching = along.width / _TOUCHING_MARKS
    ran_marks, ran_bar = _marks(ran, touching, first=first_ran, taller=0)
    come_marks, come_bar = _marks(to_come, touching, last=last_to_come, taller=-4)
    return Strip(
        ran=ran_marks,
        ran_bar=ran_bar,
        failed=_strokes(failed, 4),
        to_come=come_marks,
        to_come_bar=come_bar,
        text=_text(firings, len(failed)),
    )


def along_axis(at: datetime, along: Axis) -> int:
    """Return the place of an instant on the axis, at its ends if it lies outside."""
    return min(max(_minutes(at - along.start), 0), along.width)


def _minutes(span: timedelta) -> int:
    return round(span / _MINUTE)


def _marks(
    places: Sequence[int],
    touching: float,
    *,
    taller: int,
    first: int | None = None,
    last: int | None = None,
) -> tuple[str, str]:
    """Return marks, or one bar if there are too many for marks."""
    distinct = sorted(set(places))
    if _gap(distinct) >= touching:
        return _strokes(distinct, taller), ""
    begin = distinct[0] if first is None else first
    end = distinct[-1] if last is None else last
    return "", f"M{begin} {_HEIGHT / 2:g}H{end}"


def _gap(distinct: Sequence[int]) -> float:
    """Return the mean distance of neighbours; without any, infinity."""
    gaps = len(distinct) - 1
    return (distinct[-1] - distinct[0]) / gaps if gaps > 0 else math.inf


def _strokes(places: Iterable[int], taller: int) -> str:
    length = 16 + taller
    top = (_HEIGHT - length) / 2
    distinct = sorted(set(places))
    steps = [after - before for before, after in pairwise(distinct)]
    # Each starts from the end of the one before, which is shorter than its place.
    first = f"M{distinct[0]} {top:g}v{length}" if distinct else ""
    return first + "".join(f"m{step}-{length}v{length}" for step in steps)


def _text(firings: ScheduleFirings, failures: int) -> str:
    more = " or more" if firings.fired_cut else ""
    parts = [f"{len(firings.fired)}{more} firings before now"]
    if failures:
        parts.append(f"{failures} of them failed")
    more = " or more" if firings.to_come_cut else ""
    parts.append(f"{len(firings.to_come)}{more} to come")
    return ", ".join(parts)
