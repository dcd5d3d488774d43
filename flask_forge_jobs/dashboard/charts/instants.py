"""Labels of an axis of time, and of its buckets. All times are UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_WEEK = 7 * _DAY
# In seconds; a multiple of the last one follows.
_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(count * _MINUTE for count in (1, 2, 5, 10, 15, 30)),
    *(count * _HOUR for count in (1, 2, 3, 6, 12)),
    *(count * _DAY for count in (1, 2)),
    _WEEK,
)
# The epoch was a Thursday; weeks begin on Mondays.
_MONDAY = 4 * _DAY
# A label that is closer to an end stands beside it, not in its middle, which would be
# outside of the drawing; at the start there is room for a short one.
_EDGE = 0.02
_SHORT = 6
# The share of the width that a label needs, of a wide chart and of a narrow one.
WIDE, NARROW = 7, 3


@dataclass(frozen=True, slots=True)
class TimeLabel:
    """A label; ``place`` is from 0 to 100, ``anchor`` start, middle or end.

    ``is_extra`` ones leave a narrow chart.
    """

    place: str
    text: str
    anchor: str
    is_extra: bool


def time_labels(start: datetime, end: datetime) -> list[TimeLabel]:
    """Return labels at round times, of which none needs the place of another.

    The first one, and each midnight, names the day if the range has several.
    """
    first, last = start.timestamp(), end.timestamp()
    span = last - first
    if span <= 0:
        return []
    step, offset = _step(span / WIDE)
    instants: list[float] = []
    at = -(-(first - offset) // step) * step + offset
    while at <= last:
        instants.append(at)
        at += step
    several = start.astimezone(UTC).date() != (end - timedelta(seconds=1)).date()
    keep = max(-(-len(instants) // NARROW), 1)
    labels = []
    for number, instant in enumerate(instants):
        share = (instant - first) / span
        moment = datetime.fromtimestamp(instant, UTC)
        name = _tick(moment, step, span, names_day=several and not number)
        labels.append(
            TimeLabel(
                f"{100 * share:.4g}", name, _anchor(share, name), number % keep != 0
            )
        )
    return labels


def bucket_text(at: datetime, width_s: int, *, names_day: bool) -> str:
    """Return the name of a bucket: ``Mon 30 Nov``, ``Mon 14:00``, ``14:32``."""
    at = at.astimezone(UTC)
    if width_s >= _DAY:
        return f"{_DAYS[at.weekday()]} {at.day} {_MONTHS[at.month - 1]}"
    clock = f"{at:%H:%M}" if width_s % _MINUTE == 0 else f"{at:%H:%M:%S}"
    return f"{_DAYS[at.weekday()]} {at.day} {clock}" if names_day else clock


def _step(least: float) -> tuple[int, int]:
    """Return the smallest step that is long enough, and its offset to the epoch."""
    for step in _STEPS:
        if step >= least:
            return step, _MONDAY if step == _WEEK else 0
    return _WEEK * -int(-least // _WEEK), _MONDAY


def _tick(moment: datetime, step: int, span: float, *, names_day: bool) -> str:
    day = f"{_DAYS[moment.weekday()]} {moment.day}"
    if step >= _DAY:
        return f"{moment.day} {_MONTHS[moment.month - 1]}" if span > _WEEK else day
    clock = f"{moment:%H:%M:%S}" if step < _MINUTE else f"{moment:%H:%M}"
    if names_day:
        return f"{_DAYS[moment.weekday()]} {clock}"
    return day if clock in {"00:00", "00:00:00"} else clock


def _anchor(share: float, name: str) -> str:
    if share < _EDGE and len(name) > _SHORT:
        return "start"
    return "end" if share > 1 - _EDGE else "middle"


def names_days(start: datetime, end: datetime) -> bool:
    """Return whether the buckets of a range need the names of their days."""
    return (end - start) > timedelta(days=1) or start.date() != end.date()
