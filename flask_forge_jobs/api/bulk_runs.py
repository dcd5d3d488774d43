"""Bulk runs of one caller, for routes and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.errors import BulkRunNotFoundError, InvalidInputError
from flask_forge_jobs.model.bounds import check_job_id
from flask_forge_jobs.model.bulk_runs import BulkRun
from flask_forge_jobs.model.masking import REDACTED

# Of the conditions of a run; it may be a secret, and the counts tell whether it is one.
_SEARCH = "payload_search"


def visible_runs(api: Api, limit: int) -> Sequence[BulkRun]:
    """Return those of the newest runs that touch the caller's queues only."""
    newest = api.storage.bulk_runs.newest(limit)
    return [_masked(api, run) for run in newest if _is_own(api, run)]


def visible_run(api: Api, run_id: str) -> BulkRun:
    """Return a run that touches the caller's queues only; a lapsed one goes on.

    Raises:
        BulkRunNotFoundError: There is none.
    """
    try:
        check_job_id(run_id)  # the same form; a NUL is an error of one driver
    except InvalidInputError as error:
        raise BulkRunNotFoundError(run_id) from error
    run = api.storage.bulk_runs.get(run_id)
    if not _is_own(api, run):
        raise BulkRunNotFoundError(run_id)
    if run.is_lapsed:
        go_on_with(api, run.id)
    return _masked(api, run)


def go_on_with(api: Api, run_id: str) -> None:
    """Work on a run in a thread of this process, which outlives the request."""
    api.bulk_runner.start(api.storage.outside(), run_id)


def _is_own(api: Api, run: BulkRun) -> bool:
    own = api.scope.queues
    return own is None or (run.queues is not None and run.queues <= own)


def _masked(api: Api, run: BulkRun) -> BulkRun:
    """Return a run without its search in payloads, unless the caller may search."""
    if _SEARCH not in run.jobs or api.principal.may(Permission.PAYLOAD_REVEAL):
        return run
    return replace(run, jobs={**run.jobs, _SEARCH: REDACTED})
