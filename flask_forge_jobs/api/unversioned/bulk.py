"""Bulk retry and delete, by id or by state."""

from __future__ import annotations

from typing import Any

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import completed, json_response
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import bulk as schemas
from flask_forge_jobs.api.schemas.fields import WholeNumber
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import bulk
from flask_forge_jobs.handlers.bulk import BulkReport
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.jobs import JobStatus

_JOB_IDS = schemas.JobIdsRequestSchema()


def retry(api: Api) -> Response:
    """Retry failed and dead jobs; return how many."""
    job_ids = api.body()["job_ids"]
    own = api.scope.own(job_ids)
    report = bulk.change_named(api.storage, JobAction.RETRY, own, api.bulk_limits)
    return _retried(report, skipped=len(set(job_ids) - set(own)))


def requeue(api: Api) -> Response:
    """The old name of ``/jobs/retry``."""
    return retry(api)


def retry_all_failed(api: Api) -> Response:
    """Retry all failed jobs, or those of one queue or kind; return how many."""
    arguments = _scoped(api, api.body())
    return _retried(
        bulk.retry_by_status(api.storage, status=JobStatus.FAILED, **arguments)
    )


def retry_all_by_status(api: Api) -> Response:
    """Retry all failed or all dead jobs; return how many."""
    arguments = _scoped(api, api.body())
    return _retried(bulk.retry_by_status(api.storage, **arguments))


def delete(api: Api) -> Response:
    """Delete jobs; running ones are asked to stop. Return how many."""
    job_ids = api.body()["job_ids"]
    own = api.scope.own(job_ids)
    report = bulk.change_named(api.storage, JobAction.DELETE, own, api.bulk_limits)
    not_found = len(report.change.skipped) + len(set(job_ids) - set(own))
    response = _deleted(report)
    response.headers["X-Jobs-Not-Found"] = str(not_found)
    return response


def delete_by_status(api: Api) -> Response:
    """Delete all jobs in one state; running ones are asked to stop. Return how many."""
    arguments = _scoped(api, api.body())
    return _deleted(bulk.delete_by_status(api.storage, **arguments))


def delete_done_older_than(api: Api) -> Response:
    """Delete done jobs that finished at least ``days`` ago; return how many."""
    arguments = _scoped(api, api.body())
    return _deleted(bulk.delete_done_older_than(api.storage, **arguments))


def _scoped(api: Api, arguments: dict[str, Any]) -> dict[str, Any]:
    """Add the queues of the caller and the configured limits."""
    name = arguments["queue_name"]
    within = api.scope.names(() if name is None else (name,))
    return {**arguments, "within": within, "limits": api.bulk_limits}


def _retried(report: BulkReport, skipped: int = 0) -> Response:
    response = _counted(report)
    response.headers["X-Jobs-Skipped"] = str(len(report.change.skipped) + skipped)
    return response


def _deleted(report: BulkReport) -> Response:
    response = _counted(report)
    change = report.change
    response.headers["X-Jobs-Deleted"] = str(change.changed - change.stop_requested)
    response.headers["X-Jobs-Cancel-Requested"] = str(change.stop_requested)
    return response


def _counted(report: BulkReport) -> Response:
    response = json_response(report.change.changed)
    return completed(response, is_complete=report.is_complete)


_RETRY_HEADERS = ("X-Jobs-Skipped", "X-Bulk-Complete")
_DELETE_HEADERS = ("X-Jobs-Deleted", "X-Jobs-Cancel-Requested", "X-Bulk-Complete")
ROUTES = (
    Route(
        view=retry, permission=Permission.JOBS_RETRY, reach=Reach.VIEW, body=_JOB_IDS,
        answer=WholeNumber(), is_bulk=True, in_batches=True, gives=_RETRY_HEADERS,
    ),
    Route(
        view=requeue, permission=Permission.JOBS_RETRY, reach=Reach.VIEW, body=_JOB_IDS,
        answer=WholeNumber(), is_bulk=True, in_batches=True, is_deprecated=True,
        gives=_RETRY_HEADERS,
    ),
    Route(
        view=retry_all_failed, permission=Permission.JOBS_RETRY, reach=Reach.VIEW,
        body=schemas.RetryAllFailedRequestSchema(), is_body_optional=True,
        answer=WholeNumber(), errors=(404,), is_bulk=True, in_batches=True,
        gives=_RETRY_HEADERS,
    ),
    Route(
        view=retry_all_by_status, permission=Permission.JOBS_RETRY, reach=Reach.VIEW,
        body=schemas.RetryByStatusRequestSchema(), answer=WholeNumber(), errors=(404,),
        is_bulk=True, in_batches=True, gives=_RETRY_HEADERS,
    ),
    Route(
        view=delete, permission=Permission.JOBS_DELETE, reach=Reach.VIEW, body=_JOB_IDS,
        answer=WholeNumber(), is_bulk=True, in_batches=True,
        gives=("X-Jobs-Not-Found", *_DELETE_HEADERS),
    ),
    Route(
        view=delete_done_older_than, permission=Permission.JOBS_DELETE,
        reach=Reach.VIEW, body=schemas.DeleteDoneRequestSchema(), answer=WholeNumber(),
        errors=(404,), is_bulk=True, in_batches=True, gives=_DELETE_HEADERS,
    ),
    Route(
        view=delete_by_status, permission=Permission.JOBS_DELETE, reach=Reach.VIEW,
        body=schemas.DeleteByStatusRequestSchema(), answer=WholeNumber(),
        errors=(404, 409), is_bulk=True, in_batches=True, gives=_DELETE_HEADERS,
    ),
)  # fmt: skip
