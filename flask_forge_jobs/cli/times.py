"""Times on the command line: instants, ages and delays."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.state import current

_AGE = re.compile(r"(?P<number>[0-9]{1,12})(?P<unit>[smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIME = "a time like 2027-01-31T12:00:00+00:00"
# No instant is before 1970.
MAX_AGE_DAYS = 20_000
MAX_DELAY_S = 100 * 365 * 86_400


def instant(
    ctx: click.Context,
    param: click.Parameter,
    value: str | None,
    expected: str = _TIME,
) -> str | None:
    """Check the text of an option: ISO 8601 with an offset from UTC."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        message = f"{value!r} is not {expected}"
        raise click.BadParameter(message, ctx, param) from None
    if at.utcoffset() is None:
        message = f"{value!r} has no offset from UTC; write {at.isoformat()}+00:00"
        raise click.BadParameter(message, ctx, param)
    return at.isoformat()


def instant_or_age(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> str | None:
    """Check the text of an option: an instant, or an age such as ``30m`` or ``7d``."""
    age_s = _age_s(value)
    if age_s is None:
        return instant(ctx, param, value, f"{_TIME}, nor an age like 30m, 2h or 7d")
    if age_s > MAX_AGE_DAYS * _UNITS["d"]:
        message = f"{value!r} is longer ago than {MAX_AGE_DAYS} days"
        raise click.BadParameter(message, ctx, param)
    return value


def at_age(text: str | None) -> str | None:
    """Return the instant of an age; an instant stays as it is."""
    age_s = _age_s(text)
    return text if age_s is None else _from_now(-timedelta(seconds=age_s))


def _age_s(text: str | None) -> int | None:
    match = None if text is None else _AGE.fullmatch(text)
    return None if match is None else int(match["number"]) * _UNITS[match["unit"]]


def later(run_at: str | None, delay_s: float | None) -> str | None:
    """Return a start that is given as an instant or as a delay in seconds.

    Raises:
        UsageError: Both are given, or the delay is no usable number.
    """
    if delay_s is None:
        return run_at
    if run_at is not None:
        raise click.UsageError("give --run-at or --delay, not both")
    if not 0 <= delay_s <= MAX_DELAY_S:
        raise click.UsageError(f"--delay: {delay_s} is not within 0 to {MAX_DELAY_S}")
    return _from_now(timedelta(seconds=delay_s))


def _from_now(span: timedelta) -> str:
    return (from_micros(current().clock.now_us()) + span).isoformat()
