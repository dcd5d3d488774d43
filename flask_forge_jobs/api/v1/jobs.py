"""Jobs: find, read, delete, cancel, retry, reschedule; the state behind a link."""

from __future__ import annotations

from flask import Response, current_app
from werkzeug.exceptions import Forbidden, NotFound

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import empty_response, json_response, linked
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import jobs as schemas
from flask_forge_jobs.api.schemas.log_lines import LogLinesQuerySchema, LogLinesSchema
from flask_forge_jobs.api.scope import CLUSTER_MESSAGE
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import job_actions, job_record, jobs, log_lines
from flask_forge_jobs.model.bulk import CancelOutcome, DeleteOutcome

_ROW = schemas.EndedJobLineSchema()
_CANCEL_OUTCOME = schemas.CancelOutcomeSchema()


def find_jobs(api: Api) -> Response:
    """Return one page of matching jobs and the cursor of the next page."""
    query = api.query()
    query["job_filter"] = api.scope.limit(query["job_filter"])
    with api.reading(query["job_filter"], limit=query["limit"], sort=query["sort"]):
        page = jobs.find_jobs(api.storage, redactor=api.redactor, **query)
        response = api.answer(page)
    if page.total is not None:
        response.headers["X-Total-Count"] = str(page.total)
    return linked(response, page.next_cursor)


def count_jobs(api: Api) -> Response:
    """Return the number of matching jobs in each state."""
    job_filter = api.scope.limit(api.query()["job_filter"])
    with api.reading(job_filter):
        return api.answer(jobs.count_jobs(api.storage, job_filter))


def read_job(api: Api, job_id: str) -> Response:
    """Return one job with payload, attempts, progress, result and timings."""
    api.query()
    record = job_record.read_job(
        api.storage, job_id, redactor=api.redactor, queues=api.scope.queues
    )
    return api.answer(record)


def read_lines(api: Api, job_id: str) -> Response:
    """Return what the runs of a job have logged, in pages that can be followed."""
    return api.answer(log_lines.read_lines(api.storage, job_id, **api.query()))


def job_status(api: Api, token: str) -> Response:
    """Return state, progress and result of the job of a signed link."""
    job_id = api.status_links.job_id(current_app, token)
    if job_id is None:
        raise NotFound("this link is invalid or has expired")
    state = jobs.job_state(api.storage, job_id, redactor=api.redactor)
    return api.answer(state)


def delete(api: Api, job_id: str) -> Response:
    """Delete one job; a running one is asked to stop (202)."""
    outcome = job_actions.delete(api.storage, job_id)
    if outcome is DeleteOutcome.DELETED:
        return empty_response(204)
    return json_response({"outcome": outcome}, 202)


def cancel(api: Api, job_id: str) -> Response:
    """Ask a running job to stop (202), or end a waiting one (200)."""
    arguments = api.body()
    outcome = job_actions.cancel(api.storage, job_id, **arguments)
    is_asked = outcome is CancelOutcome.CANCEL_REQUESTED
    return json_response({"id": job_id, "outcome": outcome}, 202 if is_asked else 200)


def retry(api: Api, job_id: str) -> Response:
    """Give a failed or dead job all its attempts again, due now; return the job."""
    arguments = api.query()
    if arguments["dependents"] and api.scope.queues is not None:
        raise Forbidden(CLUSTER_MESSAGE)  # they may be in any queue
    job = job_actions.retry(api.storage, job_id, **arguments)
    return api.answer(job)


def release(api: Api, job_id: str) -> Response:
    """Let a job wait for no other one, due once its own time has come; return it."""
    return api.answer(job_actions.release(api.storage, job_id))


def reschedule(api: Api, job_id: str) -> Response:
    """Change start, priority or queue of a waiting job; return the job."""
    arguments = api.body()
    if arguments["queue_name"] is not None:
        api.scope.require(arguments["queue_name"])
    job = job_actions.reschedule(api.storage, job_id, **arguments)
    return api.answer(job)


ROUTES = (
    Route(
        view=find_jobs, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.JobsQuerySchema(), answer=schemas.JobsFoundSchema(),
        gives=("X-Total-Count", "Link"),
    ),
    Route(
        view=count_jobs, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.CountsQuerySchema(), answer=schemas.JobCountsSchema(),
    ),
    Route(
        view=read_job, permission=Permission.READ, reach=Reach.JOB,
        query=schemas.ExactRevealQuerySchema(), answer=schemas.JobRecordSchema(),
        errors=(404,), can_reveal=True,
    ),
    Route(
        view=read_lines, permission=Permission.READ, reach=Reach.JOB,
        query=LogLinesQuerySchema(), answer=LogLinesSchema(), errors=(404,),
    ),
    Route(
        view=job_status, permission=None, answer=schemas.JobStateSchema(),
        errors=(404,), tag="status",
    ),
    Route(
        view=delete, permission=Permission.JOBS_DELETE, reach=Reach.JOB, status=204,
        other_answers={202: schemas.DeleteOutcomeSchema()}, errors=(404,),
        tag="job_actions",
    ),
    Route(
        view=cancel, permission=Permission.JOBS_DELETE, reach=Reach.JOB,
        body=schemas.CancelRequestSchema(), is_body_optional=True,
        answer=_CANCEL_OUTCOME, other_answers={202: _CANCEL_OUTCOME}, errors=(404, 409),
        tag="job_actions",
    ),
    Route(
        view=retry, permission=Permission.JOBS_RETRY, reach=Reach.JOB,
        query=schemas.RetryQuerySchema(), answer=_ROW, errors=(404, 409),
        tag="job_actions",
    ),
    Route(
        view=release, permission=Permission.JOBS_RETRY, reach=Reach.JOB, answer=_ROW,
        errors=(404, 409), tag="job_actions",
    ),
    Route(
        view=reschedule, permission=Permission.JOBS_RETRY, reach=Reach.JOB,
        body=schemas.RescheduleRequestSchema(), answer=_ROW, errors=(404, 409),
        tag="job_actions",
    ),
)  # fmt: skip
