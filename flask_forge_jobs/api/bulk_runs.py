"""Bulk runs of one caller, for routes and pages."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.errors import BulkRunNotFoundError
from flask_forge_jobs.model.bulk_runs import BulkRun


def visible_runs(api: Api, limit: int) -> Sequence[BulkRun]:
    """Return those of the newest runs that touch the caller's queues only."""
    return [run for run in api.storage.bulk_runs.newest(limit) if _is_own(api, run)]


def visible_run(api: Api, run_id: str) -> BulkRun:
    """Return a run that touches the caller's queues only; a lapsed one goes on.

    Raises:
        BulkRunNotFoundError: There is none.
    """
    run = api.storage.bulk_runs.get(run_id)
    if not _is_own(api, run):
        raise BulkRunNotFoundError(run_id)
    if run.is_lapsed:
        go_on_with(api, run.id)
    return run


def go_on_with(api: Api, run_id: str) -> None:
    """Work on a run in a thread of this process, which outlives the request."""
    api.bulk_runner.start(api.storage.outside(), run_id)


def _is_own(api: Api, run: BulkRun) -> bool:
    own = api.scope.queues
    return own is None or (run.queues is not None and run.queues <= own)
