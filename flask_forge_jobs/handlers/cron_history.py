"""The history of schedules: last runs, the firings of a window, runs in pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.cron import require_possible_name
from flask_forge_jobs.handlers.cursors import (
    Page,
    from_place_cursor,
    page_of,
    to_place_cursor,
)
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.cron_expression import CronExpression
from flask_forge_jobs.model.cron_history import (
    Fired,
    ScheduleLine,
    ScheduleRun,
    firings_to_come,
)
from flask_forge_jobs.model.cron_times import next_after
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.storage.base import Storage

MAX_SCHEDULES = 1000
# Of one schedule in either direction, and of all schedules in one answer.
MAX_FIRINGS = 100
MAX_FIRINGS_IN_ALL = 5000
# Firings to compute for one answer, each in 10 to 25 microseconds unless it is known.
MAX_STEPS = 400
# Known ones: those of a page of schedules that fire every few minutes.
MAX_KNOWN = 4096
MAX_WINDOW = timedelta(days=31)
DEFAULT_REACH = timedelta(hours=12)
# The database's clock may be so far ahead of this one.
_AHEAD = timedelta(minutes=1)
MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class ScheduleFirings:
    """A schedule with its firings in a window.

    ``fired`` are the newest that made jobs, the oldest of them first; ``to_come`` the
    next ones. ``fired_cut`` and ``to_come_cut`` say that there are, or may be, more.
    """

    line: ScheduleLine
    fired: Sequence[Fired]
    to_come: Sequence[datetime]
    fired_cut: bool
    to_come_cut: bool


@dataclass(frozen=True, slots=True)
class FiringsWindow:
    """Schedules with their firings; ``is_whole`` says that none was left out."""

    start: datetime
    end: datetime
    now: datetime
    schedules: Sequence[ScheduleFirings]
    is_whole: bool


def firings(
    storage: Storage,
    now: datetime,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> FiringsWindow:
    """Return every schedule with its last run, and its firings in a window.

    At most 1,000 schedules, 100 firings of each before ``now`` and 100 after, and fewer
    if there are more than 50 schedules.

    Args:
        storage: The stores.
        now: The instant that separates past firings from future ones.
        start: 12 hours before ``now`` by default.
        end: Exclusive; 12 hours after ``now`` by default.

    Raises:
        InvalidInputError: The window is empty, or longer than 31 days.
    """
    start = now - DEFAULT_REACH if start is None else start
    end = now + DEFAULT_REACH if end is None else end
    _check_window(start, end)
    lines = storage.cron_history.lines(MAX_SCHEDULES + 1)
    window = firings_of(storage, lines[:MAX_SCHEDULES], now, start=start, end=end)
    return replace(window, is_whole=len(lines) <= MAX_SCHEDULES)


def firings_of(
    storage: Storage,
    lines: Sequence[ScheduleLine],
    now: datetime,
    *,
    start: datetime,
    end: datetime,
    steps: int = MAX_STEPS,
) -> FiringsWindow:
    """Return some schedules with their firings from ``start`` to before ``end``.

    ``end`` is exclusive; ``steps`` bounds how many firings are computed.
    """
    each = max(min(MAX_FIRINGS, MAX_FIRINGS_IN_ALL // max(len(lines), 1)), 1)
    fired = _fired(storage, lines, start, min(end, now + _AHEAD), each)
    to_come, cut = firings_to_come(
        [line.next_fire_at if line.enabled else None for line in lines],
        [_following(line) for line in lines],
        start,
        end,
        each=each,
        steps=steps,
    )
    return FiringsWindow(
        start,
        end,
        now,
        [
            ScheduleFirings(
                line,
                fired[line.name][:each][::-1],
                to_come[place],
                len(fired[line.name]) >= each,
                cut[place],
            )
            for place, line in enumerate(lines)
        ],
        is_whole=True,
    )


def _check_window(start: datetime, end: datetime) -> None:
    if not start < end:
        raise InvalidInputError("from", "does not lie before to")
    if end - start > MAX_WINDOW:
        raise InvalidInputError("to", "is more than 31 days after from")


def list_runs(
    storage: Storage,
    name: str,
    *,
    limit: int = DEFAULT_PAGE_SIZE,
    cursor: str | None = None,
) -> Page[ScheduleRun]:
    """Return the jobs that a schedule made, the newest first; ``limit`` is 1 to 200.

    A deleted schedule has them as long as they are stored.

    Raises:
        ScheduleNotFoundError: There is no such schedule, and no job of one.
    """
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    require_possible_name(name)
    binding = ["runs", name]
    before = from_place_cursor(cursor, binding)
    rows = storage.cron_history.runs(name, limit + 1, before)
    if not rows:
        storage.cron.get(name)

    def cursor_of(last: ScheduleRun) -> str:
        return to_place_cursor((to_micros(last.enqueued_at), last.job_id), binding)

    return page_of(rows, limit, cursor_of)


def _fired(
    storage: Storage,
    lines: Sequence[ScheduleLine],
    start: datetime,
    end: datetime,
    each: int,
) -> dict[str, list[Fired]]:
    # A schedule whose last run lies before the window has none in it.
    names = [
        line.name
        for line in lines
        if line.last_run is not None and line.last_run.enqueued_at >= start
    ]
    none: dict[str, list[Fired]] = {line.name: [] for line in lines}
    if not names or start >= end:
        return none
    window = to_micros(start), to_micros(end)
    return none | storage.cron_history.fired(names, *window, each=each)


def _following(line: ScheduleLine) -> Callable[[datetime], datetime | None]:
    """Return a function for the next firing after an instant."""

    def following(at: datetime) -> datetime | None:
        # A row that was written by hand may hold anything.
        try:
            return _next_of(line.cron_expr, line.timezone, at)
        except (InvalidInputError, ValueError, KeyError):
            return None

    return following


# The strip of an open page moves on, and asks for the same firings each time but one.
@lru_cache(maxsize=MAX_KNOWN)
def _next_of(cron_expr: str, timezone: str, at: datetime) -> datetime | None:
    return next_after(_expression(cron_expr), at, ZoneInfo(timezone))


@lru_cache(maxsize=MAX_SCHEDULES)
def _expression(cron_expr: str) -> CronExpression:
    return CronExpression.parse(cron_expr)
