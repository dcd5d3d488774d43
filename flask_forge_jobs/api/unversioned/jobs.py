"""Jobs: list, inspect, enqueue, run now."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import present_state
from flask_forge_jobs.api.response import (
    ENQUEUE_HEADERS,
    array_response,
    dumper,
    enqueued_response,
    json_response,
)
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import jobs as schemas
from flask_forge_jobs.api.schemas.fields import Flag, Text
from flask_forge_jobs.api.v1.enqueue import enqueue_one
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import job_actions, jobs
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD

_INSPECT = schemas.JobInspectSchema()
_PAGE = schemas.JobsPageSchema()
_DUMP_INSPECT = dumper(_INSPECT)
_DUMP_PAGE = dumper(_PAGE)
_DUMP_ROW = dumper(schemas.JobRowSchema())
_FAILED_QUERY = schemas.FailedQuerySchema()
_KINDS_QUERY = schemas.KindsQuerySchema()
_SCHEDULED_QUERY = schemas.ScheduledQuerySchema()
_LIST = schemas.ListRequestSchema()
_EXACT_LIST = schemas.ExactListRequestSchema()
_ENQUEUE = schemas.EnqueueRequestSchema()
_ENQUEUE_DEMO = schemas.EnqueueDemoRequestSchema()
_REVEAL = schemas.RevealQuerySchema()


def list_jobs(api: Api) -> Response:
    """Return one page of jobs, the newest first."""
    arguments = api.body(present_state().route.body or _LIST)
    job_filter = arguments.pop("job_filter")
    with api.reading(job_filter, **arguments):
        page = jobs.list_jobs(api.storage, api.scope.limit(job_filter), **arguments)
        return json_response(_DUMP_PAGE(page))


def failed_jobs(api: Api) -> Response:
    """Return the newest failed jobs, which wait for a retry."""
    query = api.query(_FAILED_QUERY)
    with api.reading(JobFilter(), **query):
        page = jobs.failed_jobs(api.storage, queues=api.scope.names(), **query)
        return array_response([_DUMP_ROW(job) for job in page.rows], page.total)


def list_kinds(api: Api) -> Response:
    """Return the kinds of the stored jobs, of all queues or of one."""
    queue_name = api.scope.one(api.query(_KINDS_QUERY)["queue_name"])
    kinds, total = jobs.list_kinds(api.storage, queue_name)
    return array_response(kinds, total)


def scheduled_jobs(api: Api) -> Response:
    """Return the pending jobs that start later, the earliest first."""
    query = api.query(_SCHEDULED_QUERY)
    name = api.scope.one(query.pop("queue_name"))
    with api.reading(JobFilter(), **query):
        page = jobs.scheduled_jobs(api.storage, name, **query)
        return array_response([_DUMP_ROW(job) for job in page.rows], page.total)


def inspect_job(api: Api, job_id: str) -> Response:
    """Return one job with payload and error history."""
    api.query(_REVEAL)
    detail = jobs.inspect_job(api.storage, job_id, redactor=api.redactor)
    return json_response(_DUMP_INSPECT(detail))


def enqueue(api: Api) -> Response:
    """Enqueue one job; return its id."""
    return enqueued_response(enqueue_one(api, _ENQUEUE, "enqueue"))


def enqueue_demo(api: Api) -> Response:
    """Enqueue one demo job; return its id."""
    api.scope.require(DEFAULT_QUEUE)
    return enqueued_response(
        job_actions.enqueue_demo(api.storage, api.admission, **api.body(_ENQUEUE_DEMO))
    )


def run_now(api: Api, job_id: str) -> Response:
    """Make a waiting job due now; return whether it waits."""
    return json_response(job_actions.run_now(api.storage, job_id))


ROUTES = (
    Route(
        method="POST", path="/jobs/list", endpoint="jobs_list", view=list_jobs,
        permission=Permission.READ, reach=Reach.VIEW, body=_LIST, v1_body=_EXACT_LIST,
        answer=_PAGE,
    ),
    Route(
        method="GET", path="/jobs/failed", endpoint="jobs_failed", view=failed_jobs,
        permission=Permission.READ, reach=Reach.VIEW,
        query=_FAILED_QUERY, answer=List(Nested(schemas.JobRowSchema)),
    ),
    Route(
        method="GET", path="/jobs/kinds", endpoint="jobs_kinds", view=list_kinds,
        permission=Permission.READ, reach=Reach.VIEW,
        query=_KINDS_QUERY, answer=List(Text()),
    ),
    Route(
        method="GET", path="/jobs/scheduled", endpoint="jobs_scheduled",
        view=scheduled_jobs, permission=Permission.READ, reach=Reach.VIEW,
        query=_SCHEDULED_QUERY,
        answer=List(Nested(schemas.JobRowSchema)),
    ),
    Route(
        method="GET", path="/jobs/inspect/<job_id>", endpoint="job_inspect",
        view=inspect_job, permission=Permission.READ, reach=Reach.JOB, answer=_INSPECT,
        query=_REVEAL, errors=(404,), can_reveal=True,
    ),
    Route(
        method="POST", path="/jobs/enqueue", endpoint="jobs_enqueue", view=enqueue,
        permission=Permission.JOBS_ENQUEUE, reach=Reach.VIEW,
        body=_ENQUEUE, answer=Text(), errors=(404, 409),
        takes=(REQUEST_KEY_FIELD,), gives=ENQUEUE_HEADERS,
    ),
    Route(
        method="POST", path="/jobs/run-now/<job_id>", endpoint="jobs_run_now",
        view=run_now, permission=Permission.JOBS_RETRY, reach=Reach.JOB,
        answer=Flag(), errors=(404,),
    ),
)  # fmt: skip
DEMO_ROUTE = Route(
    method="POST", path="/jobs/enqueue-demo", endpoint="jobs_enqueue_demo",
    view=enqueue_demo, permission=Permission.JOBS_ENQUEUE, reach=Reach.VIEW,
    body=_ENQUEUE_DEMO, answer=Text(), gives=ENQUEUE_HEADERS, is_deprecated=True,
)  # fmt: skip
