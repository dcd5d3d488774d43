"""Compares the package with the minute walk around the jumps of a zone's clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from flask_forge_jobs.model.cron_expression import CronExpression
from flask_forge_jobs.model.cron_times import next_after
from tests.support.minute_walk import Spec, Walk, offset_changes

AROUND = timedelta(hours=36)
# The walk does not know what lies outside of it.
MARGIN = timedelta(hours=3)

SPECS = (
    Spec("* * * * *", lambda _: True, is_interval=True),
    Spec("*/15 * * * *", lambda at: at.minute % 15 == 0, is_interval=True),
    Spec("0 * * * *", lambda at: at.minute == 0, is_interval=True),
    Spec("@hourly", lambda at: at.minute == 0, is_interval=True),
    Spec("45 * * * *", lambda at: at.minute == 45, is_interval=True),
    Spec("30 */2 * * *", lambda at: at.minute == 30 and at.hour % 2 == 0,
         is_interval=True),
    Spec("10,50 1-5/2 * * *", lambda at: at.minute in (10, 50) and at.hour in (1, 3, 5),
         is_interval=True),
    Spec("* * * * 0", lambda at: at.isoweekday() == 7, is_interval=True),
    Spec("*/7 0/3 * * 6,0", lambda at: at.minute % 7 == 0 and at.hour % 3 == 0
         and at.isoweekday() in (6, 7), is_interval=True),
    Spec("30 2 * * *", lambda at: (at.hour, at.minute) == (2, 30), is_interval=False),
    Spec("0 2 * * *", lambda at: (at.hour, at.minute) == (2, 0), is_interval=False),
    Spec("0 3 * * *", lambda at: (at.hour, at.minute) == (3, 0), is_interval=False),
    Spec("0 0 * * *", lambda at: (at.hour, at.minute) == (0, 0), is_interval=False),
    Spec("@daily", lambda at: (at.hour, at.minute) == (0, 0), is_interval=False),
    Spec("59 23 * * *", lambda at: (at.hour, at.minute) == (23, 59), is_interval=False),
    Spec("* 2 * * *", lambda at: at.hour == 2, is_interval=False),
    Spec("*/15 0,1,2,3 * * *", lambda at: at.minute % 15 == 0 and at.hour < 4,
         is_interval=False),
    Spec("0 0-23 * * *", lambda at: at.minute == 0, is_interval=False),
    Spec("5 1 1-31 * 0", lambda at: (at.hour, at.minute) == (1, 5), is_interval=False),
    Spec("30 2 * * 0", lambda at: (at.hour, at.minute) == (2, 30)
         and at.isoweekday() == 7, is_interval=False),
)  # fmt: skip


def jumps(zone: str, begin: datetime, *, years: int) -> Iterator[datetime]:
    """Return the instants at which the clock of a zone jumps."""
    end = begin.replace(year=begin.year + years)
    for instant, _, _ in offset_changes(ZoneInfo(zone), begin, end):
        yield instant


def compare(zone: ZoneInfo, jump: datetime, specs: Sequence[Spec]) -> list[str]:
    """Return the differences within 36 hours of a jump."""
    begin, end = jump - AROUND, jump + AROUND
    walk = Walk(zone, begin - MARGIN, (AROUND + MARGIN) * 2 // timedelta(minutes=1))
    differences = []
    for spec in specs:
        walked = {at for at in walk.firings(spec) if begin < at <= end}
        found = set(_between(spec.text, begin, end, zone))
        differences += [
            f"{zone.key} {spec.text}: {at.isoformat()} "
            f"{'missing' if at in walked else 'too many'}"
            for at in sorted(walked ^ found)
        ]
    return differences


def _between(
    text: str, begin: datetime, end: datetime, zone: ZoneInfo
) -> Iterator[datetime]:
    expression = CronExpression.parse(text)
    at = next_after(expression, begin, zone)
    while at is not None and at <= end:
        yield at
        at = next_after(expression, at, zone)
