"""Cron expressions in two dialects, which differ in the number of fields.

Five fields are Unix cron: minute, hour, day of month, month, day of week; Sunday is 0
or 7, and of two restricted day fields either may match. Six or seven fields are the
reference's dialect: second first, optional year last, Sunday is 1, and both day fields
must match.

Ranges are checked before they are expanded, so every expression is cheap to parse. Our
own, because no library reads the second dialect; tests compare the first with one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_text, shown

MAX_EXPRESSION_LENGTH = 255
# Nothing fires outside these years in either dialect (the reference's bounds).
FIRST_YEAR, LAST_YEAR = 1970, 2100
_FIELD = "cron_expr"
_UNIX_FIELDS, _SECONDS_FIELDS, _YEARS_FIELDS = 5, 6, 7

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august",
    "september", "october", "november", "december",
)  # fmt: skip
_WEEKDAYS = (
    ("sunday", "sun"),
    ("monday", "mon"),
    ("tuesday", "tues", "tue"),
    ("wednesday", "wed"),
    ("thursday", "thurs", "thu"),
    ("friday", "fri"),
    ("saturday", "sat"),
)
_MONTH_NAMES = {
    name: number
    for number, full in enumerate(_MONTHS, start=1)
    for name in (full, full[:3])
}
_SHORTHANDS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 1",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_BLANKS = re.compile(r"[ \t]+")
_ITEM = re.compile(
    r"(?P<first>\*|\?|[0-9]+|[a-z]+)(?:-(?P<last>[0-9]+|[a-z]+))?(?:/(?P<step>[0-9]+))?"
)


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A parsed expression: the matching values of each field, in order.

    Args:
        text: The expression as given.
        seconds: 0 to 59; only 0 with five fields.
        minutes: 0 to 59.
        hours: 0 to 23.
        days: Days of the month, 1 to 31.
        months: 1 to 12.
        weekdays: 0 to 6; Sunday is 0 in both dialects.
        years: 1970 to 2100.
        either_day: A day matches by its number or its weekday; False requires both.
        is_interval: The hour field has a ``*`` or a step, so the expression means
            elapsed time, not hours of the day; see
            :func:`flask_forge_jobs.model.cron_times.next_after`.
    """

    text: str
    seconds: Sequence[int]
    minutes: Sequence[int]
    hours: Sequence[int]
    days: Sequence[int]
    months: Sequence[int]
    weekdays: Sequence[int]
    years: Sequence[int]
    either_day: bool
    is_interval: bool

    @classmethod
    def parse(cls, value: object) -> CronExpression:
        """Parse an expression; see :func:`flask_forge_jobs.parse_cron`."""
        text = check_text(_FIELD, value, MAX_EXPRESSION_LENGTH)
        words = _BLANKS.split(_expanded(text.strip(" \t").lower()))
        if len(words) == _UNIX_FIELDS:
            return _parse_unix(text, words)
        if len(words) in (_SECONDS_FIELDS, _YEARS_FIELDS):
            return _parse_with_seconds(text, words)
        raise InvalidInputError(
            _FIELD,
            f"has {len(words)} fields; use five (minute hour day month weekday), "
            "six (second first) or seven (year last)",
        )


def parse_cron(cron_expr: str) -> CronExpression:
    """Parse a cron expression into the matching values of each field.

    Args:
        cron_expr: 1 to 255 characters: five, six or seven fields separated by blanks,
            or a shorthand such as ``@daily``.

    Raises:
        InvalidInputError: It does not parse; the error's field is ``cron_expr``, its
            message names the part and the bound.
    """
    return CronExpression.parse(cron_expr)


@dataclass(frozen=True, slots=True)
class _Field:
    """The syntax of one field."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)
    max_step: int = 0
    takes_question_mark: bool = False

    def parse(self, text: str) -> tuple[int, ...]:
        """Return the matching values, in order."""
        values: set[int] = set()
        for item in text.split(","):
            values.update(self._item(item))
        return tuple(sorted(values))

    def _item(self, item: str) -> range:
        match = _ITEM.fullmatch(item)
        if match is None:
            raise self._refused(f"{shown(item)} is not a number, a range or *")
        first, last, step = match["first"], match["last"], match["step"]
        if first in ("*", "?"):
            self._check_star(item, first, last, step)
            low, high = self.low, self.high
        else:
            low = self._number(first)
            if last is not None:
                high = self._number(last)
            else:
                high = low if step is None else self.high
        if high < low:
            raise self._refused(f"{shown(item)} runs backwards; write it as two ranges")
        if step is not None and last is None and first.isalpha():
            raise self._refused(f"{shown(item)} has a step after a single name")
        return range(low, high + 1, 1 if step is None else self._step(step))

    def _check_star(
        self, item: str, first: str, last: str | None, step: str | None
    ) -> None:
        if last is not None:
            raise self._refused(f"{shown(item)} is not a range")
        if first == "?" and (step is not None or not self.takes_question_mark):
            raise self._refused(
                f"{shown(item)} is not accepted; ? stands alone in a day field, "
                "and only in expressions of six or seven fields"
            )

    def _number(self, text: str) -> int:
        if text.isalpha():
            if text not in self.names:
                raise self._refused(f"{shown(text)} is not a name of this field")
            return self.names[text]
        number = int(text)
        if not self.low <= number <= self.high:
            raise self._refused(
                f"{shown(number)} is not within {self.low} to {self.high}"
            )
        return number

    def _step(self, text: str) -> int:
        step = int(text)
        longest = self.max_step or self.high
        if not 1 <= step <= longest:
            raise self._refused(f"step {shown(step)} is not within 1 to {longest}")
        return step

    def _refused(self, message: str) -> InvalidInputError:
        return InvalidInputError(_FIELD, f"{self.name}: {message}")


def _weekday_names(sunday: int) -> dict[str, int]:
    return {
        name: number
        for number, names in enumerate(_WEEKDAYS, start=sunday)
        for name in names
    }


_SECOND = _Field("second", 0, 59)
_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of month", 1, 31, takes_question_mark=True)
_MONTH = _Field("month", 1, 12, _MONTH_NAMES)
_WEEKDAY = _Field("day of week", 1, 7, _weekday_names(1), takes_question_mark=True)
_YEAR = _Field("year", FIRST_YEAR, LAST_YEAR)
# Crontabs use */60 and */24 for once an hour and once a day.
_UNIX = (
    _Field("minute", 0, 59, max_step=60),
    _Field("hour", 0, 23, max_step=24),
    _Field("day of month", 1, 31),
    _MONTH,
    _Field("day of week", 0, 7, _weekday_names(0)),
)
_WITH_SECONDS = (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)
_ALL_YEARS = range(FIRST_YEAR, LAST_YEAR + 1)


def _expanded(text: str) -> str:
    if not text.startswith("@"):
        return text
    if text not in _SHORTHANDS:
        raise InvalidInputError(
            _FIELD, f"{shown(text)} is not one of {', '.join(_SHORTHANDS)}"
        )
    return _SHORTHANDS[text]


def _parse_unix(text: str, words: Sequence[str]) -> CronExpression:
    minutes, hours, days, months, weekdays = (
        part.parse(word) for part, word in zip(_UNIX, words, strict=True)
    )
    return CronExpression(
        text=text,
        seconds=(0,),
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=tuple(sorted({day % 7 for day in weekdays})),
        years=_ALL_YEARS,
        # As in cron: a day field that begins with a star must match as well as the
        # other, so that "*/2" with Monday means every second day if it is a Monday.
        either_day=not words[2].startswith("*") and not words[4].startswith("*"),
        is_interval=_is_interval(words[1]),
    )


def _parse_with_seconds(text: str, words: Sequence[str]) -> CronExpression:
    seconds, minutes, hours, days, months, weekdays = (
        part.parse(word) for part, word in zip(_WITH_SECONDS, words[:6], strict=True)
    )
    return CronExpression(
        text=text,
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=tuple(day - 1 for day in weekdays),
        years=_YEAR.parse(words[6]) if len(words) == _YEARS_FIELDS else _ALL_YEARS,
        either_day=False,
        is_interval=_is_interval(words[2]),
    )


def _is_interval(hour: str) -> bool:
    return "*" in hour or "/" in hour
