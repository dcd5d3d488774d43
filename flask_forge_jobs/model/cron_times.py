"""When a cron expression fires next, in a time zone.

Where a zone's clock jumps, cron's rule applies. An expression that names hours fires
once for each of them: for a skipped hour once, right after the jump, however many of
its minutes match; for a repeated hour the first time only. An expression whose hour
field has ``*`` or a step means elapsed time: it fires whenever the clock's reading
matches, in both runs of a repeated hour, and never for skipped readings. Our own,
because no library tells the two kinds apart by the hour field.
"""

from __future__ import annotations

import calendar
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from flask_forge_jobs.model.cron_expression import LAST_YEAR, CronExpression

_SECOND = timedelta(seconds=1)


def next_after(
    expression: CronExpression, instant: datetime, zone: ZoneInfo
) -> datetime | None:
    """Return the first firing after an aware instant, in UTC, on a whole second.

    Returns None if there is none until the end of the year 2100.
    """
    start = instant.astimezone(UTC).replace(microsecond=0)
    if start.year > LAST_YEAR:
        return None
    find = _next_real if expression.is_interval else _next_fixed
    found = find(expression, start, zone)
    return None if found is None else found.replace(tzinfo=UTC)


def _next_fixed(
    expression: CronExpression, start: datetime, zone: ZoneInfo
) -> datetime | None:
    """Fire once per matching reading, in the order of readings."""
    local = start.astimezone(zone)
    reading = local.replace(tzinfo=None, fold=0)
    first = reading + _SECOND
    if local.fold and (shift := _shift_at(reading, zone)):
        first = shift.ends  # this hour's readings have fired in its first run
    found = _reading_from(expression, first)
    if found is None:
        return None
    shift = _shift_at(found, zone)
    if shift is None:
        return found - _offset(found, zone)
    return shift.instant if shift.is_gap else found - shift.before


def _next_real(
    expression: CronExpression, start: datetime, zone: ZoneInfo
) -> datetime | None:
    """Fire at each instant whose reading matches."""
    local = start.astimezone(zone)
    reading = local.replace(tzinfo=None, fold=0)
    after = start.replace(tzinfo=None)
    found = _reading_from(expression, reading + _SECOND)
    shift = _shift_at(reading, zone)
    if shift and not local.fold:
        if found is not None and found < shift.ends:
            return found - shift.before
        found = _reading_from(expression, shift.begins)  # the hour's second run
    while found is not None:
        shift = _shift_at(found, zone)
        if shift is None:
            return found - _offset(found, zone)
        if not shift.is_gap:
            first, second = found - shift.before, found - shift.after
            return first if first > after else second
        found = _reading_from(expression, shift.ends)
    return None


# -- clock readings ----------------------------------------------------------------


def _reading_from(expression: CronExpression, first: datetime) -> datetime | None:
    """Return the first matching clock reading at or after ``first``."""
    day = _day_from(expression, first.date())
    if day == first.date():
        found = _time_from(expression, first.time())
        if found is not None:
            return datetime.combine(day, found)
        day = _day_from(expression, day + timedelta(days=1))
    if day is None:
        return None
    earliest = time(expression.hours[0], expression.minutes[0], expression.seconds[0])
    return datetime.combine(day, earliest)


def _time_from(expression: CronExpression, first: time) -> time | None:
    """Return the first matching time of day at or after ``first``."""
    seconds, minutes = expression.seconds, expression.minutes
    second = _from(seconds, first.second)
    minute = _from(minutes, first.minute + (second is None))
    if minute != first.minute or second is None:
        second = seconds[0]
    hour = _from(expression.hours, first.hour + (minute is None))
    if hour is None:
        return None
    if hour != first.hour or minute is None:
        minute, second = minutes[0], seconds[0]
    return time(hour, minute, second)


def _day_from(expression: CronExpression, first: date) -> date | None:
    """Return the first matching day at or after ``first``."""
    days = _mask(expression.days)
    weekdays = _mask(expression.weekdays)
    not_before = -1 << first.day
    for year in expression.years[bisect_left(expression.years, first.year) :]:
        months = expression.months
        if year == first.year:
            months = months[bisect_left(months, first.month) :]
        for month in months:
            weekday, length = calendar.monthrange(year, month)
            matching = _days_on(weekdays, weekday)
            matching = matching | days if expression.either_day else matching & days
            matching &= (1 << length + 1) - 1
            if (year, month) == (first.year, first.month):
                matching &= not_before
            if matching:
                return date(year, month, (matching & -matching).bit_length() - 1)
    return None


def _from(values: Sequence[int], least: int) -> int | None:
    index = bisect_left(values, least)
    return values[index] if index < len(values) else None


def _mask(values: Sequence[int]) -> int:
    return sum(1 << value for value in values)


@cache
def _days_on(weekdays: int, first_weekday: int) -> int:
    """Return the days 1 to 31 that fall on some weekdays, as bits.

    In ``weekdays`` Sunday is bit 0, but ``first_weekday`` (of day 1) is 0 on Mondays.
    """
    return sum(1 << d for d in range(1, 32) if weekdays >> (first_weekday + d) % 7 & 1)


# -- where the clock jumps ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shift:
    """A jump of a zone's clock, with the offsets before and after it."""

    instant: datetime
    before: timedelta
    after: timedelta

    @property
    def is_gap(self) -> bool:
        """Whether readings are skipped rather than repeated."""
        return self.before < self.after

    @property
    def begins(self) -> datetime:
        """The first skipped or repeated reading."""
        return self.instant + min(self.before, self.after)

    @property
    def ends(self) -> datetime:
        """The first reading after those."""
        return self.instant + max(self.before, self.after)


def _offset(reading: datetime, zone: ZoneInfo, fold: int = 0) -> timedelta:
    return reading.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta()


def _shift_at(reading: datetime, zone: ZoneInfo) -> _Shift | None:
    """Return the jump that skips or repeats a reading, if there is one."""
    before, after = _offset(reading, zone), _offset(reading, zone, fold=1)
    if before == after:
        return None
    low, high = reading - max(before, after), reading - min(before, after)
    while high - low > _SECOND:
        middle = low + (high - low) // 2 // _SECOND * _SECOND
        if middle.replace(tzinfo=UTC).astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return _Shift(high, before, after)
