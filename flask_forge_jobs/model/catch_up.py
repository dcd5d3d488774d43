"""Which missed firings of a schedule to make up for.

A firing is missed when it is a minute overdue, because no worker ran or none reached
the database. Then the schedule's policy applies to everything that is due. A firing
that is only late, after the loss of a leader or a restart of the database, is made
under every policy.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_text, shown

MISSED_AFTER_S = 60
DEFAULT_CATCH_UP_LIMIT = 100
CATCH_UP_LIMIT_RANGE = (1, 1000)
_LONGEST_POLICY = 16
_MISSED_AFTER = timedelta(seconds=MISSED_AFTER_S)
_SECOND = timedelta(seconds=1)

NextAfter = Callable[[datetime], datetime | None]


class CatchUp(StrEnum):
    """What happens to missed firings.

    ``skip`` makes none of them, ``once`` the latest, ``all`` the latest up to a limit.
    The series then goes on with the next firing.
    """

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


def check_catch_up(value: object, field: str = "catch_up") -> str:
    """Return the name of a policy, or raise :class:`InvalidInputError`."""
    text = check_text(field, value, _LONGEST_POLICY)
    if text not in tuple(CatchUp):
        raise InvalidInputError(field, f"{shown(text)} is not one of skip, once, all")
    return text


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
        return _from(next_after, first, now, MISSED_AFTER_S + 1)
    if catch_up is CatchUp.SKIP:
        return []
    most = 1 if catch_up is CatchUp.ONCE else limit
    found = _from(next_after, first, now, most + 1)
    if len(found) <= most:
        return found
        # There may be millions more: find the latest ones backwards.
    latest = [_last(next_after, first, now)]
    while len(latest) < most:
        latest.append(_last(next_after, first, latest[-1] - _SECOND))
    return latest[::-1]


def _from(
    next_after: NextAfter, first: datetime, until: datetime, most: int
) -> list[datetime]:
    """Return the first instants from ``first`` to ``until``."""
    found: list[datetime] = []
    instant: datetime | None = first
    while instant is not None and instant <= until and len(found) < most:
        found.append(instant)
        instant = next_after(instant)
    return found


def _last(next_after: NextAfter, first: datetime, until: datetime) -> datetime:
    """Return the last instant of the series up to ``until``."""
    found, none_after = first, until
    while none_after - found >= _SECOND:
        middle = found + (none_after - found) / 2
        later = next_after(middle)
        if later is None or later > until:
            none_after = middle
        else:
            found = later
    return found
