"""Checks cron firings against a minute walk wherever a clock of the world jumps.

Run it with ``python -m tests.acceptance.cron_clocks``: every change of offset from 2000
to 2037, 36 hours around each, 20 expressions. Zones whose clocks make the same jump at
the same instant are checked once. ``--zones 30`` takes only so many zones. Differences
are printed; the exit status is 1 when there is one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from tests.support.minute_walk import Spec, offset_changes
from tests.support.zone_walks import SPECS, compare

FIRST_YEAR, LAST_YEAR = 2000, 2037
# Thirty with the rules that differ most come first, then the rest of the database.
UNLIKE = (
    "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Moscow",
    "Europe/Istanbul", "Europe/Chisinau", "America/New_York", "America/Los_Angeles",
    "America/St_Johns", "America/Sao_Paulo", "America/Havana", "America/Santiago",
    "America/Asuncion", "America/Caracas", "America/Scoresbysund", "Africa/Casablanca",
    "Africa/Cairo", "Africa/Windhoek", "Asia/Tehran", "Asia/Gaza", "Asia/Beirut",
    "Asia/Pyongyang", "Asia/Dhaka", "Asia/Kathmandu", "Australia/Sydney",
    "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham",
    "Antarctica/Troll",
)  # fmt: skip
Jump = tuple[datetime, timedelta, timedelta]


def chosen_zones(count: int | None) -> list[str]:
    """Return the names of the zones to check."""
    ordered = [*UNLIKE, *sorted(available_timezones() - set(UNLIKE))]
    return ordered[:count]


def distinct_jumps(
    zones: Iterable[str], first_year: int, last_year: int
) -> dict[Jump, str]:
    """Return every change of offset, each with a zone that has it."""
    begin = datetime(first_year, 1, 1, tzinfo=UTC)
    end = datetime(last_year + 1, 1, 1, tzinfo=UTC)
    zone_of: dict[Jump, str] = {}
    for name in zones:
        for jump in offset_changes(ZoneInfo(name), begin, end):
            zone_of.setdefault(jump, name)
    return zone_of


def differences(jumps: dict[Jump, str], specs: Sequence[Spec]) -> Iterator[str]:
    """Check each jump; return what differs."""
    for (instant, _, _), name in jumps.items():
        yield from compare(ZoneInfo(name), instant, specs)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zones", type=int, default=None)
    zones = chosen_zones(parser.parse_args().zones)
    began_at = time.perf_counter()
    jumps = distinct_jumps(zones, FIRST_YEAR, LAST_YEAR)
    count = 0
    for line in differences(jumps, SPECS):
        count += 1
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(
        f"{len(zones)} zones, {len(jumps)} distinct changes of offset, {len(SPECS)} "
        f"expressions: {count} differences in {time.perf_counter() - began_at:.0f} s\n"
    )
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
