"""A cron expression in plain English.

It describes the values that match, not the syntax, so both dialects read the same. Our
own, because ``cron-descriptor`` says "or" for two day fields that must both match, and
reads ``*/45`` as every 45 minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask_forge_jobs.model.cron_expression import FIRST_YEAR, LAST_YEAR, CronExpression

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August",
    "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)  # fmt: skip
_MINUTES, _HOURS, _DAYS, _WEEK, _YEAR_MONTHS = 60, 24, 31, 7, 12
# More times of day than this are described by their rule.
_LISTED_TIMES = 6
# Two neighbours are listed, three are a range.
_SHORTEST_RANGE = 3


def describe(expression: CronExpression) -> str:
    """Return one sentence without a full stop."""
    parts = [
        *_time(expression), *_day(expression), *_month(expression), *_year(expression),
    ]  # fmt: skip
    sentence = ", ".join(parts)
    return sentence[0].upper() + sentence[1:]


def _time(expression: CronExpression) -> list[str]:
    hours, minutes, seconds = expression.hours, expression.minutes, expression.seconds
    if len(hours) * len(minutes) * len(seconds) <= _LISTED_TIMES:
        times = [
            f"{hour:02}:{minute:02}" + (f":{second:02}" if seconds != (0,) else "")
            for hour in hours
            for minute in minutes
            for second in seconds
        ]
        return [f"at {_list(times)}"]
    if len(hours) == _HOURS and (minutes, seconds) == ((0,), (0,)):
        return ["every hour"]
    parts = [] if seconds == (0,) else [_part("second", seconds, _MINUTES)]
    for unit, values, size in (("minute", minutes, _MINUTES), ("hour", hours, _HOURS)):
        if len(values) < size or not parts:
            parts.append(_part(unit, values, size))
        elif parts[-1].startswith("at ") and " of " not in parts[-1]:
            parts[-1] += f" of every {unit}"
    return parts


def _part(unit: str, values: Sequence[int], size: int) -> str:
    """Describe the matching values of one unit."""
    if len(values) == size:
        return f"every {unit}"
    are_many = len(values) >= _SHORTEST_RANGE or tuple(values) == (0, size // 2)
    step = values[1] - values[0] if are_many else 1
    if step > 1 and tuple(values) == tuple(range(values[0], size, step)):
        if values[0] == 0 and size % step == 0:
            return f"every {step} {unit}s"
        return f"at every {_ordinal(step)} {unit} from {values[0]}"
    plural = "s" if len(values) > 1 else ""
    preposition = "in" if unit == "hour" else "at"
    return f"{preposition} {unit}{plural} {_list(_runs(values, str))}"


def _day(expression: CronExpression) -> list[str]:
    every_number = len(expression.days) == _DAYS
    every_weekday = len(expression.weekdays) == _WEEK
    days = _list(_runs(expression.days, str))
    plural = "s" if len(expression.days) > 1 else ""
    number = f"on day{plural} {days} of the month"
    names = _weekday_names(expression.weekdays)
    if every_number and every_weekday:
        is_daily = len(expression.hours) < _HOURS
        return ["every day"] if is_daily else []
    if expression.either_day:
        if every_number or every_weekday:
            return ["every day"]
        return [f"{number} or on {_list(names)}"]
    if every_number:
        return [f"on {_list(names)}"]
    if every_weekday:
        return [number]
    return [f"{number} if it is a {_list(names, 'or')}"]


def _month(expression: CronExpression) -> list[str]:
    if len(expression.months) == _YEAR_MONTHS:
        return []
    names = _runs(expression.months, lambda month: _MONTHS[month - 1])
    return [f"in {_list(names)}"]


def _year(expression: CronExpression) -> list[str]:
    if len(expression.years) == LAST_YEAR - FIRST_YEAR + 1:
        return []
    return [f"in {_list(_runs(expression.years, str))}"]


def _weekday_names(weekdays: Sequence[int]) -> list[str]:
    # The week starts on Monday here, so that Friday to Sunday is one range.
    ordered = sorted((day - 1) % _WEEK for day in weekdays)
    return _runs(ordered, lambda day: _WEEKDAYS[day])


def _runs(values: Sequence[int], name: Callable[[int], str]) -> list[str]:
    """Return names, with three or more neighbours as a range."""
    names: list[str] = []
    start = 0
    for index, value in enumerate(values):
        if index + 1 < len(values) and values[index + 1] == value + 1:
            continue
        run = values[start : index + 1]
        start = index + 1
        if len(run) >= _SHORTEST_RANGE:
            names.append(f"{name(run[0])} to {name(run[-1])}")
        else:
            names.extend(map(name, run))
    return names


def _list(words: Sequence[str], conjunction: str = "and") -> str:
    *rest, last = words
    return f"{', '.join(rest)} {conjunction} {last}" if rest else last


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
