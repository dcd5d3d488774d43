"""What becomes of the firings that a schedule has missed, and its defaults.

The times of firings are in :mod:`.cron_times`, which a program without schedules does
not need.
"""

from __future__ import annotations

from enum import StrEnum

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_text, shown

DEFAULT_TIME_ZONE = "UTC"
DEFAULT_CATCH_UP_LIMIT = 100
CATCH_UP_LIMIT_RANGE = (1, 1000)
_LONGEST_POLICY = 16


class CatchUp(StrEnum):
    """The treatment of missed firings.

    ``skip`` makes none of them, ``once`` the latest, ``all`` the latest up to a limit.
    The series then goes on with the next firing.
    """

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


def check_catch_up(value: object) -> str:
    """Return the name of a policy, or raise :class:`InvalidInputError`."""
    text = check_text("catch_up", value, _LONGEST_POLICY)
    if text not in tuple(CatchUp):
        raise InvalidInputError(
            "catch_up", f"{shown(text)} is not one of skip, once, all"
        )
    return text
