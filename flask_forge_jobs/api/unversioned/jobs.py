"""Jobs: list, inspect, enqueue, run now."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import (
    ENQUEUE_HEADERS,
    counted,
    enqueued_response,
    json_response,
)
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import jobs as schemas
from flask_forge_jobs.api.schemas.fields import Flag, Text
from flask_forge_jobs.api.v1.enqueue import enqueue_one
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import job_actions, jobs
from flask_forge_jobs.model.bounds import DEFAULT_QUEUE
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD


def list_jobs(api: Api) -> Response:
    """Return one page of jobs, the newest first."""
    arguments = api.body()
    job_filter = arguments.pop("job_filter")
    with api.reading(job_filter, **arguments):
        page = jobs.list_jobs(api.storage, api.scope.limit(job_filter), **arguments)
        return api.answer(page)


def failed_jobs(api: Api) -> Response:
    """Return the newest failed jobs, which wait for a retry."""
    query = api.query()
    with api.reading(JobFilter(), **query):
        page = jobs.failed_jobs(api.storage, queues=api.scope.names(), **query)
        return api.listing(page.rows, page.total)


def list_kinds(api: Api) -> Response:
    """Return the kinds of the stored jobs, of all queues or of one."""
    queue_name = api.scope.one(api.query()["queue_name"])
    kinds, total = jobs.list_kinds(api.storage, queue_name)
    return counted(json_response(kinds), total)


def scheduled_jobs(api: Api) -> Response:
    """Return the pending jobs that start later, the earliest first."""
    query = api.query()
    name = api.scope.one(query.pop("queue_name"))
    with api.reading(JobFilter(), **query):
        page = jobs.scheduled_jobs(api.storage, name, **query)
        return api.listing(page.rows, page.total)


def inspect_job(api: Api, job_id: str) -> Response:
    """Return one job with payload and error history."""
    api.query()
    detail = jobs.inspect_job(api.storage, job_id, redactor=api.redactor)
    return api.answer(detail)


def enqueue(api: Api) -> Response:
    """Enqueue one job; return its id."""
    return enqueued_response(enqueue_one(api, "enqueue"))


def enqueue_demo(api: Api) -> Response:
    """Enqueue one demo job; return its id."""
    api.scope.require(DEFAULT_QUEUE)
    return enqueued_response(
        job_actions.enqueue_demo(api.storage, api.admission, **api.body())
    )


def run_now(api: Api, job_id: str) -> Response:
    """Make a waiting job due now; return whether it waits."""
    return json_response(job_actions.run_now(api.storage, job_id))


ROUTES = (
    Route(
        view=list_jobs, permission=Permission.READ, reach=Reach.VIEW,
        body=schemas.ListRequestSchema(), v1_body=schemas.ExactListRequestSchema(),
        answer=schemas.JobsPageSchema(),
    ),
    Route(
        view=failed_jobs, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.FailedQuerySchema(), answer=List(Nested(schemas.JobRowSchema)),
    ),
    Route(
        view=list_kinds, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.KindsQuerySchema(), answer=List(Text()),
    ),
    Route(
        view=scheduled_jobs, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.ScheduledQuerySchema(), answer=List(Nested(schemas.JobRowSchema)),
    ),
    Route(
        view=inspect_job, permission=Permission.READ, reach=Reach.JOB,
        answer=schemas.JobInspectSchema(), query=schemas.RevealQuerySchema(),
        errors=(404,), can_reveal=True,
    ),
    Route(
        view=enqueue, permission=Permission.JOBS_ENQUEUE, reach=Reach.VIEW,
        body=schemas.EnqueueRequestSchema(), answer=Text(), errors=(404, 409),
        takes=(REQUEST_KEY_FIELD,), gives=ENQUEUE_HEADERS, tag="enqueue",
    ),
    Route(
        view=run_now, permission=Permission.JOBS_RETRY, reach=Reach.JOB, answer=Flag(),
        errors=(404,), tag="job_actions",
    ),
    Route(
        view=enqueue_demo, permission=Permission.JOBS_ENQUEUE, reach=Reach.VIEW,
        body=schemas.EnqueueDemoRequestSchema(), answer=Text(), gives=ENQUEUE_HEADERS,
        is_deprecated=True, tag="enqueue",
    ),
)  # fmt: skip
