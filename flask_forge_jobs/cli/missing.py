"""Names that do not exist, in commands: the near one and where the others are."""

from __future__ import annotations

from collections.abc import Mapping

from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.config.checks import near_match
from flask_forge_jobs.errors import (
    ForgeJobsError,
    NotFoundError,
    QueueNotFoundError,
    RateLimitNotFoundError,
    ScheduleNotFoundError,
)

# The attribute with the name, the route that lists all, its key, and the command.
_LISTS: Mapping[type[NotFoundError], tuple[str, str, str, str]] = {
    QueueNotFoundError: ("queue_name", "v1_queues", "name", "queues list"),
    ScheduleNotFoundError: ("schedule_name", "v1_cron_list", "name", "cron list"),
    RateLimitNotFoundError: ("scope", "v1_rate_limits", "scope", "limits list"),
}


def with_way_out(error: NotFoundError) -> str:
    """Return the text of an error with the near name or the command that lists all."""
    listing = _LISTS.get(type(error))
    if listing is None:
        return str(error)
    attribute, endpoint, key, command = listing
    try:
        names = [each[key] for each in local_api().call(endpoint).document]
    except ForgeJobsError:
        names = []
    near = near_match(getattr(error, attribute), names)
    return f"{error}{near}; see flask forge-jobs {command}"
