"""A slow, plain oracle for cron: it walks the minutes of a clock.

It shares only the zone database with the package, not the parser or the search.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Spec:
    """An expression beside what it means.

    Args:
        text: The expression.
        matches: Whether it matches a reading of the clock.
        is_interval: Whether it counts real time.
    """

    text: str
    matches: Callable[[datetime], bool]
    is_interval: bool


class Walk:
    """Every minute of a stretch of time, with the reading of a zone's clock.

    Args:
        zone: The clock.
        begin: First instant, in UTC on a whole minute.
        minutes: How many.
    """

    def __init__(self, zone: ZoneInfo, begin: datetime, minutes: int) -> None:
        self.instants = [begin + MINUTE * count for count in range(minutes)]
        self.readings = [
            instant.astimezone(zone).replace(tzinfo=None, fold=0)
            for instant in self.instants
        ]

    def firings(self, spec: Spec) -> list[datetime]:
        """Return the instants at which a spec fires, in order."""
        if spec.is_interval:
            return [
                instant
                for instant, reading in zip(self.instants, self.readings, strict=True)
                if spec.matches(reading)
            ]
        first: dict[datetime, datetime] = {}
        for instant, reading in zip(self.instants, self.readings, strict=True):
            first.setdefault(reading, instant)
        return sorted({first[when] for when in self._fixed(spec, first)})

    def _fixed(self, spec: Spec, seen: dict[datetime, datetime]) -> Iterable[datetime]:
        """Return the reading that stands for each one the calendar has."""
        ordered = sorted(seen)
        reading = ordered[0]
        while reading <= ordered[-1]:
            if spec.matches(reading):
                # Skipped: what the clock shows when the jump is over stands for it.
                yield (
                    reading
                    if reading in seen
                    else ordered[bisect_left(ordered, reading)]
                )
            reading += MINUTE


def offset_changes(
    zone: ZoneInfo, begin: datetime, end: datetime
) -> list[tuple[datetime, timedelta, timedelta]]:
    """Return when a zone's offset changes, to the minute, with both offsets."""

    def offset(instant: datetime) -> timedelta:
        return instant.astimezone(zone).utcoffset() or timedelta()

    found = []
    day = timedelta(days=1)
    low = begin
    while low < end:
        high = low + day
        if offset(low) != offset(high):
            first, last = low, high
            while last - first > MINUTE:
                middle = first + (last - first) // 2 // MINUTE * MINUTE
                if offset(middle) == offset(low):
                    first = middle
                else:
                    last = middle
            found.append((last.astimezone(UTC), offset(low), offset(high)))
        low = high
    return found
