"""Times on the command line: instants, ages and delays."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.state import current

_AGE = re.compile(r"(?P<number>\d{1,6})(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
MAX_DELAY_S = 100 * 365 * 86_400


def instant(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> str | None:
    """Check the text of an option: ISO 8601 with an offset from UTC."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        message = f"{value!r} is not a time like 2027-01-31T12:00:00+00:00"
        raise click.BadParameter(message, ctx, param) from None
    if at.utcoffset() is None:
        raise click.BadParameter(f"{value!r} has no offset from UTC", ctx, param)
    return at.isoformat()


def instant_or_age(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> str | None:
    """Check the text of an option: an instant, or an age such as ``30m`` or ``7d``."""
    if value is not None and _AGE.fullmatch(value):
        return value
    return instant(ctx, param, value)


def at_age(text: str | None) -> str | None:
    """Return the instant of an age; an instant stays as it is."""
    match = None if text is None else _AGE.fullmatch(text)
    if match is None:
        return text
    return _from_now(-timedelta(**{_UNITS[match["unit"]]: int(match["number"])}))


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
