"""The firings of a cron schedule: the next one in a zone, and those that were missed.

Where a zone's clock jumps, cron's rule applies. An expression that names hours fires
once for each of them: for a skipped hour once, right after the jump, however many of
its minutes match; for a repeated hour the first time only. An expression whose hour
field has ``*`` or a step means elapsed time: it fires whenever the clock's reading
matches, in both runs of a repeated hour, and never for skipped readings. Our own,
because no library tells the two kinds apart by the hour field.

A firing is missed when it is a minute overdue, because no worker ran or none reached
the database. Then the schedule's policy applies to everything that is due. A firing
that is only late, after the loss of a leader or a restart of the database, is made
under every policy.
"""

from __future__ import annotations

import calendar
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_text, shown
from flask_forge_jobs.model.catch_up import CatchUp
from flask_forge_jobs.model.cron_expression import LAST_YEAR, CronExpression

MAX_TIME_ZONE_LENGTH = 64
MISSED_AFTER_S = 60
_MISSED_AFTER = timedelta(seconds=MISSED_AFTER_S)
_SECOND = timedelta(seconds=1)

NextAfter = Callable[[datetime], datetime | None]


def check_time_zone(value: object) -> str:
    """Return the name of an IANA zone; names are case-sensitive."""
    name = check_text("timezone", value, MAX_TIME_ZONE_LENGTH)
    if name not in _known_names():
        raise InvalidInputError(
            "timezone", f"{shown(name)} is not a time zone such as UTC or Europe/Berlin"
        )
    return name


@cache
def _known_names() -> frozenset[str]:
    # ZoneInfo would open any file that a name leads to, and available_timezones() reads
    # the whole database, which takes too long for a request.
    return frozenset((files("tzdata") / "zones").read_text("utf-8").split())


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
    firing = find(expression, start, zone)
    return None if firing is None else firing.replace(tzinfo=UTC)


def _next_fixed(
    expression: CronExpression, start: datetime, zone: ZoneInfo
) -> datetime | None:
    """Fire once per matching reading, in the order of readings."""
    local = start.astimezone(zone)
    reading = local.replace(tzinfo=None, fold=0)
    first = reading + _SECOND
    if local.fold and (shift := _shift_at(reading, zone)):
        first = shift.ends  # this hour's readings have fired in its first run
    reading_due = _reading_from(expression, first)
    if reading_due is None:
        return None
    shift = _shift_at(reading_due, zone)
    if shift is None:
        return reading_due - _offset(reading_due, zone)
    return shift.instant if shift.is_gap else reading_due - shift.before


def _next_real(
    expression: CronExpression, start: datetime, zone: ZoneInfo
) -> datetime | None:
    """Fire at each instant whose reading matches."""
    local = start.astimezone(zone)
    reading = local.replace(tzinfo=None, fold=0)
    after = start.replace(tzinfo=None)
    reading_due = _reading_from(expression, reading + _SECOND)
    shift = _shift_at(reading, zone)
    if shift and not local.fold:
        if reading_due is not None and reading_due < shift.ends:
            return reading_due - shift.before
        reading_due = _reading_from(expression, shift.begins)  # the hour's second run
    while reading_due is not None:
        shift = _shift_at(reading_due, zone)
        if shift is None:
            return reading_due - _offset(reading_due, zone)
        if not shift.is_gap:
            first, second = reading_due - shift.before, reading_due - shift.after
            return first if first > after else second
        reading_due = _reading_from(expression, shift.ends)
    return None


# -- clock readings ----------------------------------------------------------------


def _reading_from(expression: CronExpression, first: datetime) -> datetime | None:
    """Return the first matching clock reading at or after ``first``."""
    day = _day_from(expression, first.date())
    if day == first.date():
        moment = _time_from(expression, first.time())
        if moment is not None:
            return datetime.combine(day, moment)
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


# -- after a pause -----------------------------------------------------------------


def due_instants(
    next_after: NextAfter,
    first: datetime,
    now: datetime,
    *,
    catch_up: CatchUp,
    limit: int,
) -> list[datetime]:
    """Return the firings to make, oldest first.

    ``next_after`` returns the first instant of the series after another, None at its
    end. ``first`` is the oldest one not fired yet, at or before ``now``. ``all`` makes
    the latest ``limit`` missed ones.
    """
    if now - first <= _MISSED_AFTER:
        return _firings_from(next_after, first, now, MISSED_AFTER_S + 1)
    if catch_up is CatchUp.SKIP:
        return []
    count = 1 if catch_up is CatchUp.ONCE else limit
    firings = _firings_from(next_after, first, now, count + 1)
    if len(firings) <= count:
        return firings
    # There may be millions more: find the latest ones backwards.
    latest = [_last_firing(next_after, first, now)]
    while len(latest) < count:
        latest.append(_last_firing(next_after, first, latest[-1] - _SECOND))
    return latest[::-1]


def _firings_from(
    next_after: NextAfter, first: datetime, until: datetime, limit: int
) -> list[datetime]:
    """Return the first instants from ``first`` to ``until``."""
    firings: list[datetime] = []
    instant: datetime | None = first
    while instant is not None and instant <= until and len(firings) < limit:
        firings.append(instant)
        instant = next_after(instant)
    return firings


def _last_firing(next_after: NextAfter, first: datetime, until: datetime) -> datetime:
    """Return the last instant of the series up to ``until``."""
    last, none_after = first, until
    while none_after - last >= _SECOND:
        middle = last + (none_after - last) / 2
        later = next_after(middle)
        if later is None or later > until:
            none_after = middle
        else:
            last = later
    return last
