"""Numbers in the navigation that the attention report does not have."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import cast

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.errors import ForgeJobsError
from flask_forge_jobs.handlers.errors import ErrorListing, list_errors
from flask_forge_jobs.handlers.snapshots import KEPT_S
from flask_forge_jobs.model.error_groups import ErrorRange

# They change slowly, and each is a read of its own: once a minute for all open pages.
OPENED_KEPT_S, REFRESHED_KEPT_S = 30.0, 60.0
CRON, ERRORS = "/cron", "/errors"
# Errors that the overview lists.
MAX_ERRORS = 5


def errors_of_day(api: Api, queue: str | None = None) -> ErrorListing:
    """Return the most frequent errors of a day in one or all queues of the caller."""

    def read() -> ErrorListing:
        return list_errors(
            api.storage,
            queue_names=api.scope.names([queue] if queue else ()),
            within=ErrorRange.DAY,
            limit=MAX_ERRORS,
        )

    return api.snapshots.get(_key_of_errors(api, queue), read)


def _key_of_errors(api: Api, queue: str | None = None) -> Hashable:
    return "errors of a day", queue, api.scope.queues


def nav_counts(
    api: Api, *, counts_schedules: bool, is_refresh: bool
) -> Mapping[str, int]:
    """Return the errors of the last day and the schedules, by page; none if unread."""
    queues = api.scope.queues

    def read() -> Mapping[str, int]:
        counts = {ERRORS: _failing(api)}
        if counts_schedules:
            counts[CRON] = api.storage.cron.count()
        return counts

    key = "nav counts", queues, counts_schedules
    kept_s = REFRESHED_KEPT_S if is_refresh else OPENED_KEPT_S
    try:
        return api.snapshots.get(key, read, kept_s=kept_s)
    except ForgeJobsError:
        return {}


def _failing(api: Api) -> int:
    """Return how many errors a day had; the overview has just read them."""
    known = api.snapshots.known(_key_of_errors(api))
    if known is not None and known.age_s < KEPT_S:
        return cast("ErrorListing", known.value).total
    names = api.scope.names()
    return api.storage.errors.failing(queue_names=names)
