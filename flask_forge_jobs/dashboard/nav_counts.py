"""Numbers in the navigation that the attention report does not have."""

from __future__ import annotations

from collections.abc import Mapping

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.errors import ForgeJobsError
from flask_forge_jobs.handlers.errors import count_errors
from flask_forge_jobs.model.error_groups import ErrorRange

# They change slowly, and each is a read of its own: once a minute for all open pages.
OPENED_KEPT_S, REFRESHED_KEPT_S = 30.0, 60.0
CRON, ERRORS = "/cron", "/errors"


def nav_counts(
    api: Api, *, counts_schedules: bool, is_refresh: bool
) -> Mapping[str, int]:
    """Return the errors of the last day and the schedules, by page; none if unread."""
    queues = api.scope.queues

    def read() -> Mapping[str, int]:
        names = None if queues is None else sorted(queues)
        failing = count_errors(api.storage, queue_names=names, within=ErrorRange.DAY)
        counts = {ERRORS: failing}
        if counts_schedules:
            counts[CRON] = api.storage.cron.count()
        return counts

    key = "nav counts", queues, counts_schedules
    kept_s = REFRESHED_KEPT_S if is_refresh else OPENED_KEPT_S
    try:
        return api.snapshots.get(key, read, kept_s=kept_s)
    except ForgeJobsError:
        return {}
